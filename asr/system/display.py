"""What people watch while a program works."""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

UNKNOWN_COLUMNS = 200  # of a stream that does not say


class Display:
    """Lines that stay and, on a terminal, a live line in between that is overwritten."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.is_live = self.stream.isatty()
        self._next_update = 0.0

    def say(self, text: str) -> None:
        """A line that stays."""
        clear = "\r\x1b[K" if self.is_live else ""
        self.stream.write(f"{clear}{text}\n")
        self.stream.flush()

    def update(self, text: str) -> None:
        """A line that the next one overwrites; a few times a second at most, and only on a terminal."""
        if self.is_live and time.monotonic() >= self._next_update:
            self._next_update = time.monotonic() + 0.2
            self.stream.write(f"\r\x1b[K{text[: self._columns() - 1]}")
            self.stream.flush()

    def _columns(self) -> int:
        """Of the terminal: a longer line would wrap, and the next one overwrite only its end."""
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or UNKNOWN_COLUMNS
        except (OSError, ValueError):
            return UNKNOWN_COLUMNS

    def clear(self) -> None:
        """Take the live line away."""
        if self.is_live:
            self._next_update = 0.0
            self.stream.write("\r\x1b[K")
            self.stream.flush()


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 row`, `2 rows`; `plural` where it is no mere s."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def percent(rate: float | None, unknown: str = "n/a") -> str:
    """A fraction as percent with two decimals, without the sign."""
    return unknown if rate is None else f"{100 * rate:.2f}"
