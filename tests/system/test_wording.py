"""Nouns follow their numbers."""

from __future__ import annotations

from asr.system.wording import counted


def test_one_is_singular_and_every_other_number_plural():
    assert [counted(number, "row") for number in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
    assert counted(3, "match", "matches") == "3 matches"
