"""Text as a screen shows it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.transcribe.display import display_width, one_line, unbreakable_parts

CHARACTERS = st.integers(0, 0x10FFFF).map(chr) | st.sampled_from("ab .語。「ー한\u0301\u200d👩👍🏽")
TEXTS = st.lists(CHARACTERS, max_size=12).map("".join)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (" a \n\n b\tc\r", "a b c"),
        ("a\0b\x85c\u2028d\ufeffe", "a b c d e"),
        ("5\u00a0km", "5\u00a0km"),
        ("\udcff.wav", "\ufffd.wav"),
        ("\n \0", ""),
    ],
)
def test_a_text_becomes_one_line_that_can_be_printed(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("abc", 3),
        ("größe", 5),
        ("gro\u0308ße", 5),
        ("語音", 4),
        ("한국", 4),
        ("\uff21", 2),
        ("👩‍👩‍👧", 2),
        ("👍🏽", 2),
        ("a\u200b\u202eb", 2),
        ("नि", 1),
        ("\u0301", 0),
    ],
)
def test_width_is_in_columns_of_a_screen(text: str, width: int) -> None:
    assert display_width(text) == width


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("self-made", ["self-made"]),
        ("語音識別", ["語", "音", "識", "別"]),
        ("「語」、と", ["「語」、", "と"]),
        ("カード", ["カー", "ド"]),
        ("用GPU算", ["用", "GPU", "算"]),
        ("한국어", ["한국어"]),
        ("👩‍👧👍🏽", ["👩‍👧👍🏽"]),
        ("", []),
    ],
)
def test_a_line_may_end_where_the_script_allows(word: str, parts: list[str]) -> None:
    assert [part for part in unbreakable_parts(word, 20) if part] == parts


def test_a_word_wider_than_a_line_is_cut_between_characters_with_their_accents() -> None:
    assert unbreakable_parts("abcdefg", 3) == ["abc", "def", "g"]
    assert unbreakable_parts("n\u0303" * 4, 3) == ["n\u0303" * 3, "n\u0303"]


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(2, 8))
def test_parts_hold_all_of_a_word_and_fit_the_line(word: str, max_width: int) -> None:
    parts = unbreakable_parts(word, max_width)
    assert "".join(parts) == word
    assert all(display_width(part) <= max_width for part in parts)


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_one_line_stays_as_it_is_and_survives_utf_8_and_every_way_of_splitting_lines(text: str) -> None:
    line = one_line(text)
    assert one_line(line) == line
    assert line.encode("utf-8").decode("utf-8") == line
    assert line.splitlines() == [line] * bool(line)
