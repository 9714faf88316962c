"""Watching a run in another process."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path


def wait_until_written(log: Path, more_bytes: int, process: subprocess.Popen[bytes]) -> None:
    """Return when so much more is in a log than now, or when the process has ended: however fast the machine is."""

    def size() -> int:
        return log.stat().st_size if log.exists() else 0

    begin = size()
    while size() < begin + more_bytes and process.poll() is None:
        time.sleep(0.01)
