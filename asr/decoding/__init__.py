"""Searches: from encoder output to hypotheses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asr.decoding.base import SEARCHES
from asr.registry import NamedConfig, import_siblings

import_siblings(__name__, __path__)

if TYPE_CHECKING:
    SearchConfig = NamedConfig
else:
    SearchConfig = SEARCHES.config_union()

__all__ = ["SEARCHES", "SearchConfig"]
