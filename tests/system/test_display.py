"""What people read."""

from __future__ import annotations

from asr.system.display import clock, counted


def test_one_thing_is_no_plural() -> None:
    assert [counted(number, "row") for number in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
    assert [counted(number, "batch", "batches") for number in (1, 2)] == ["1 batch", "2 batches"]


def test_hours_are_shown_where_there_are_some() -> None:
    assert [clock(seconds) for seconds in (0.4, 65, 3600)] == ["0:00", "1:05", "1:00:00"]
