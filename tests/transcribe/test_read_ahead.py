"""Items come in order, a few ahead; errors come through; a reader that nobody wants any more ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from asr.transcribe.read_ahead import read_ahead


def test_all_items_come_in_order() -> None:
    assert list(read_ahead(range(100), 3)) == list(range(100))


def test_no_more_than_asked_for_is_made_ahead() -> None:
    made = 0

    def items() -> Iterator[int]:
        nonlocal made
        while True:
            made += 1
            yield made

    ahead = read_ahead(items(), 3)
    assert next(ahead) == 1
    time.sleep(0.3)
    assert made <= 5  # one taken, three waiting, one that finds no place
    ahead.close()  # type: ignore[attr-defined]


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("two")

    ahead = read_ahead(items(), 3)
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="two"):
        next(ahead)


def test_closing_ends_the_thread_and_the_iterator() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    ahead = read_ahead(items(), 2)
    next(ahead)
    ahead.close()  # type: ignore[attr-defined]
    assert closed.wait(2)
