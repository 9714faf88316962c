"""Events of the engine's threads for coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Protocol

from asr.transcribe.events import Done, Event, Failed


class Source(Protocol):
    """A request to the engine: a `Handle` or a `LiveStream`."""

    def events_now(self) -> Iterator[Event]: ...

    def on_change(self, call: Callable[[], None]) -> None: ...


class Waiter:
    """Wakes the coroutines that wait for something to change in a request. No thread waits for any."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._has_changed = asyncio.Event()
        source.on_change(self._notice)

    async def changed(self) -> None:
        """Wait until something has changed since the last call."""
        await self._has_changed.wait()
        self._has_changed.clear()

    def wake(self) -> None:
        """Something else has changed, in the event loop's thread."""
        self._has_changed.set()

    async def events(self) -> AsyncIterator[Event]:
        """The events as they come; the last one is Done or Failed."""
        while True:
            for event in self._source.events_now():
                yield event
                if isinstance(event, Done | Failed):
                    return
            await self.changed()

    def _notice(self) -> None:
        with suppress(RuntimeError):  # the loop has ended before the engine
            self._loop.call_soon_threadsafe(self._has_changed.set)
