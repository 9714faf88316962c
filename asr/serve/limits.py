"""How many requests there are at once: some run, some wait, and the rest is told to come again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asr.serve.errors import busy, stopping

RECENT = 0.1  # weight of the newest request in the mean time that requests take


class Admission:
    """Counts requests of one kind. All methods belong to the event loop's thread."""

    def __init__(self, what: str, max_running: int, max_waiting: int) -> None:
        self._what = what
        self._max_running = max_running
        self._max_all = max_running + max_waiting
        self._places = asyncio.Semaphore(max_running)
        self._seconds = 1.0  # that a request takes, of late
        self._is_open = True
        self.num_all = 0
        self.num_running = 0

    @property
    def num_waiting(self) -> int:
        """Requests that were let in and do not run yet."""
        return self.num_all - self.num_running

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Be let in, before anything of a request is read; ApiError 429 if there is no room, 503 at the end."""
        if not self._is_open:
            raise stopping()
        if self.num_all >= self._max_all:
            raise busy(f"too many {self._what}: {self.num_all} are here already", self.retry_after)
        self.num_all += 1
        try:
            yield
        finally:
            self.num_all -= 1

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Be among those that run, waiting for a place; inside `enter`."""
        async with self._places:
            self.num_running += 1
            began = time.monotonic()
            try:
                yield
            finally:
                self.num_running -= 1
                self._seconds += RECENT * (time.monotonic() - began - self._seconds)

    @property
    def retry_after(self) -> int:
        """Seconds, at least 1, until those that wait now will have been served."""
        return min(60, max(1, round(self._seconds * self.num_waiting / self._max_running)))

    def close(self) -> None:
        """Let nobody in any more."""
        self._is_open = False
