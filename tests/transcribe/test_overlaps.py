"""Where two spans share audio, nothing is said twice and nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.transcribe.overlaps import hand_over
from asr.types import Segment, Word

SAID = [f"w{number % 7}" for number in range(40)]  # a word a second


def heard(first: int, last: int, *, errors: dict[int, str] | None = None, timed: bool = True) -> Segment:
    """What a span from `first` to `last` seconds hears, with errors at some seconds."""
    texts = [(second, (errors or {}).get(second, SAID[second])) for second in range(first, last)]
    words = tuple(Word(second + 0.1, second + 0.9, text, 0.5) for second, text in texts if text)
    text = " ".join(word.text for word in words)
    return Segment(words[0].start, words[-1].end, text, words, 0.5) if timed else Segment(first, last, text)


def test_what_both_heard_comes_once() -> None:
    before, after = hand_over(heard(0, 12), heard(9, 20), 9.0, 12.0)
    assert f"{before.text} {after.text}".split() == SAID[:20]
    assert before.end <= after.start
    assert before.confidence == after.confidence == 0.5


def test_texts_of_a_script_without_spaces_stay_without() -> None:
    def span(first: int, last: int) -> Segment:
        words = tuple(Word(second + 0.1, second + 0.9, chr(0x4E00 + second), 0.5) for second in range(first, last))
        return Segment(first, last, "".join(word.text for word in words), words, 0.5)

    before, after = hand_over(span(0, 12), span(9, 20), 9.0, 12.0)
    assert before.text + after.text == "".join(chr(0x4E00 + second) for second in range(20))


def test_words_that_were_cut_off_at_the_ends_are_taken_from_the_other_span() -> None:
    before, after = hand_over(heard(0, 12, errors={11: "x"}), heard(9, 20, errors={9: "y"}), 9.0, 12.0)
    assert f"{before.text} {after.text}".split() == SAID[:20]


def test_where_no_word_agrees_each_keeps_its_half() -> None:
    errors = dict.fromkeys(range(9, 13), "x")
    before, after = hand_over(heard(0, 12, errors=errors), heard(9, 20), 9.0, 12.0)
    assert before.text.split() == [*SAID[:9], "x", "x"]
    assert after.text.split() == SAID[11:20]


def test_a_word_that_only_looks_the_same_far_away_is_no_agreement() -> None:
    before = Segment(0, 4, "a b", (Word(0, 1, "a"), Word(1.1, 1.9, "b")))
    after = Segment(1, 6, "b c", (Word(3.1, 3.9, "b"), Word(5, 6, "c")))
    first, second = hand_over(before, after, 1.0, 4.0)
    assert (first.text, second.text) == ("a b", "b c")


def test_texts_without_times_meet_too() -> None:
    before, after = hand_over(heard(0, 12, timed=False), heard(9, 20, timed=False), 9.0, 12.0)
    assert f"{before.text} {after.text}".split() == SAID[:20]
    assert before.end == after.start == pytest.approx(10.5)


def test_a_span_that_heard_nothing_leaves_all_to_the_other() -> None:
    before, after = hand_over(heard(0, 11), Segment(9, 9, ""), 9.0, 12.0)
    assert (before.text.split(), after.text) == (SAID[:11], "")


@given(
    start=st.integers(6, 12),
    length=st.integers(1, 5),
    errors=st.dictionaries(st.integers(0, 30), st.sampled_from(["x", "w1", ""])),
    other_errors=st.dictionaries(st.integers(0, 30), st.sampled_from(["x", "w2", ""])),
)
def test_times_never_run_backwards(
    start: int, length: int, errors: dict[int, str], other_errors: dict[int, str]
) -> None:
    end = start + length
    errors, other_errors = {**errors, 0: "a"}, {**other_errors, 29: "z"}
    before, after = hand_over(
        heard(0, end, errors=errors), heard(start, 30, errors=other_errors), float(start), float(end)
    )
    moments = [moment for word in (*before.words, *after.words) for moment in (word.start, word.end)]
    assert moments == sorted(moments)
    assert after.text.endswith("z")
    assert before.text.startswith("a")
