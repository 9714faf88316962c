"""Stopping a run between two steps, on SIGINT or SIGTERM."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CTRL_C = "Ctrl-C"


@contextmanager
def stop_requests(*, is_alone: bool = True) -> Iterator[list[str]]:
    """Collect SIGINT and SIGTERM instead of breaking a step in two; a second SIGINT stops at once.

    Where other ranks train with this process, an error in the block leaves SIGTERM ignored, see `outlive_launcher`.
    """
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
    except BaseException:
        if not is_alone:
            previous[signal.SIGTERM] = signal.SIG_IGN
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def outlive_launcher() -> None:
    """Ignore SIGTERM from now on: a launcher sends it once one rank has ended, and this one must still say why."""
    with suppress(ValueError):  # not the main thread, which alone may handle signals
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
