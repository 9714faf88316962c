"""Runs an iterator in a thread of its own, a few items ahead of who uses it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def read_ahead(items: Iterable[Item], max_waiting: int) -> Iterator[Item]:
    """The same items, at most `max_waiting` of them made before they are asked for.

    What the iterator raises is raised where its next item would stand. Closing the result ends the thread.
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(max_waiting)
    stopped = threading.Event()

    def put(item: Item | _End) -> None:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def run() -> None:
        error = None
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
        except BaseException as reason:  # handed on, whatever it is
            error = reason
        put(_End(error))

    reader = threading.Thread(target=run, name="read ahead", daemon=True)
    reader.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        with suppress(KeyboardInterrupt):  # a second Ctrl-C, while the first one is on its way through here
            reader.join()
