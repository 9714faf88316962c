"""Asking a run to stop without breaking a step in two."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

CTRL_C = "Ctrl-C"


@contextmanager
def stop_requests() -> Iterator[list[str]]:
    """Collects SIGINT and SIGTERM instead of breaking a step in two; a second SIGINT stops at once."""
    requests: list[str] = []

    def note(number: int, _frame: object) -> None:
        if requests and number == signal.SIGINT:
            raise KeyboardInterrupt
        requests.append(CTRL_C if number == signal.SIGINT else signal.Signals(number).name)

    try:
        previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, which alone may handle signals
        yield requests
        return
    try:
        yield requests
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
