"""Lets tests import `tools.benchmarks`, as benchmarks do: the checkout is where modules are looked for."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
