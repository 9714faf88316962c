"""Loops are found, what people repeat is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.bundle.loops import looped_words


def without_loops(text: str) -> str:
    words = text.split()
    looped = looped_words(words)
    return " ".join(word for place, word in enumerate(words) if place not in looped)


@pytest.mark.parametrize(
    "text",
    ["five five five five", "no no no", "bye bye bye bye now", "as i said as i said it is late", "one two one two", ""],
)
def test_what_people_say_is_no_loop(text: str) -> None:
    assert without_loops(text) == text


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("so " + "thank you " * 40, "so thank you"),
        ("a" + " the" * 9 + " end", "a the end"),
        ("i do not know " * 5 + "i", "i do not know"),
        ("one two three one two three one two three four", "one two three four"),
    ],
)
def test_a_phrase_comes_once_where_it_was_looped(text: str, rest: str) -> None:
    assert without_loops(text) == rest


@given(
    before=st.lists(st.sampled_from("xyz"), max_size=5, unique=True),
    phrase=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=8, unique=True),
    times=st.integers(5, 30),
)
def test_any_phrase_is_found_wherever_it_stands(before: list[str], phrase: list[str], times: int) -> None:
    assert without_loops(" ".join(before + phrase * times)) == " ".join(before + phrase)
