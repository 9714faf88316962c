"""Pieces of a segment and when they are said."""

from __future__ import annotations

import pytest

from asr.transcribe.timed_text import joined, timed_pieces
from asr.types import Segment, Word


def timed(segment: Segment, max_width: int = 42) -> list[tuple[str, float, float]]:
    return [(piece.text, piece.start, piece.end) for piece in timed_pieces(segment, max_width)]


def test_pieces_have_the_times_of_their_words() -> None:
    words = (Word(1.0, 1.5, "so"), Word(1.5, 3.0, "far"))
    assert timed(Segment(0.0, 4.0, "so far", words)) == [("so", 1.0, 1.5), ("far", 1.5, 3.0)]


def test_what_stands_between_words_goes_with_the_one_it_touches() -> None:
    words = (Word(0.0, 1.0, "he"), Word(1.0, 2.0, "said"), Word(2.0, 3.0, "no"))
    pieces = timed(Segment(0.0, 3.0, '"he said, ("no")', words))
    assert pieces == [('"he', 0.0, 1.0), ("said,", 1.0, 2.0), ('("no")', 2.0, 3.0)]


@pytest.mark.parametrize("words", [(), (Word(3.0, 3.5, "other"),)])
def test_without_words_of_the_text_the_time_is_shared_by_width(words: tuple[Word, ...]) -> None:
    assert timed(Segment(2.0, 4.0, "abc d", words)) == [("abc", 2.0, 3.5), ("d", 3.5, 4.0)]


def test_a_word_of_several_pieces_shares_its_time_among_them() -> None:
    assert timed(Segment(0.0, 3.0, "語a識", (Word(1.0, 2.0, "語a識"),))) == [
        ("語", 1.0, 1.4),
        ("a", 1.4, 1.6),
        ("識", 1.6, 2.0),
    ]


@pytest.mark.parametrize("text", ["", " \n", "\0"])
def test_no_text_has_no_pieces(text: str) -> None:
    assert timed(Segment(0.0, 1.0, text, (Word(0.0, 1.0, text),))) == []


@pytest.mark.parametrize("text", ["one two", "語音 識別", "a語 b", "don't — stop"])
def test_pieces_join_to_the_text_they_are_from(text: str) -> None:
    assert joined(timed_pieces(Segment(0.0, 1.0, text), 42)) == text
