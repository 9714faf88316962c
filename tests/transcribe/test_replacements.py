"""Exact replacements in transcripts."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import ConfigError
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.replacements import Replacements, read_replacements
from asr.transcribe.requests import RequestOptions
from asr.types import Segment, Word


def segment(text: str, *words: str) -> Segment:
    """Words of a second each, from 1 s; confidence falls."""
    timed = tuple(Word(1.0 + k, 2.0 + k, word, 0.9 - 0.1 * k) for k, word in enumerate(words or text.split()))
    return Segment(1.0, 1.0 + len(timed), text, timed, 0.5)


def applied(pairs: dict[str, str], text: str, *words: str) -> Segment:
    return Replacements(tuple(pairs.items())).apply(segment(text, *words))


def timed(one: Segment) -> list[tuple[str, float, float]]:
    return [(word.text, word.start, word.end) for word in one.words]


def test_a_word_is_replaced_as_a_whole_with_the_punctuation_around_it_kept() -> None:
    one = applied({"jason": "JSON", "ann": "Anne"}, '"jason", anna said, jason\'s (jason).')
    assert one.text == '"JSON", anna said, jason\'s (JSON).'
    assert timed(one) == [('"JSON",', 1, 2), ("anna", 2, 3), ("said,", 3, 4), ("jason's", 4, 5), ("(JSON).", 5, 6)]


def test_case_counts() -> None:
    assert applied({"jason": "JSON"}, "Jason jason").text == "Jason JSON"


def test_several_words_become_one_in_their_time_and_one_becomes_several() -> None:
    one = applied({"pie torch": "PyTorch", "asr": "automatic speech recognition"}, "use pie torch, for asr now")
    assert one.text == "use PyTorch, for automatic speech recognition now"
    assert timed(one)[:3] == [("use", 1, 2), ("PyTorch,", 2, 4), ("for", 4, 5)]
    assert [word for word, _, _ in timed(one)[3:]] == ["automatic", "speech", "recognition", "now"]
    starts = [start for _, start, _ in timed(one)[3:]]
    assert starts == pytest.approx([5.0, 5.0 + 9 / 26, 5.0 + 15 / 26, 6.0])
    assert one.words[1].confidence == pytest.approx(0.75)


def test_as_many_words_as_before_keep_their_own_times() -> None:
    assert timed(applied({"two words": "three birds"}, "two words"))[1] == ("birds", 2, 3)


def test_the_longest_of_those_that_fit_counts_and_nothing_is_replaced_twice() -> None:
    pairs = {"new": "old", "new york": "NYC", "old": "ancient", "a": "b", "b": "a"}
    assert applied(pairs, "new york new a b").text == "NYC old b a"


def test_what_is_replaced_by_nothing_leaves_no_gap_and_no_word() -> None:
    one = applied({"um": ""}, "um so um yes")
    assert one.text == "so yes"
    assert timed(one) == [("so", 2, 3), ("yes", 4, 5)]
    assert (one.start, one.end) == (2, 5)
    assert applied({"um": ""}, "um um").text == ""


def test_scripts_without_spaces_have_no_bounds_of_words() -> None:
    one = applied({"\u6771\u4eac": "\u4eac\u90fd\u5e02"}, "\u6771\u4eac\u306b", "\u6771", "\u4eac", "\u306b")
    assert one.text == "\u4eac\u90fd\u5e02\u306b"
    assert [word for word, _, _ in timed(one)] == ["\u4eac", "\u90fd", "\u5e02", "\u306b"]
    assert [end for _, _, end in timed(one)] == pytest.approx([1 + 2 / 3, 1 + 4 / 3, 3, 4])


def test_a_text_without_timed_words_is_replaced_all_the_same() -> None:
    assert Replacements((("a", "b"),)).apply(Segment(0.0, 1.0, "a c")).text == "b c"


@given(
    st.lists(st.sampled_from(["a", "b", "c", "a,", "bc"]), min_size=1, max_size=8),
    st.dictionaries(
        st.sampled_from(["a", "b", "a b", "c a b", "bc"]), st.sampled_from(["", "x", "x y", "b"]), min_size=1
    ),
)
def test_words_are_those_of_the_text_in_order_and_inside_the_segment(words, pairs) -> None:
    one = applied(pairs, " ".join(words))
    assert one.text.split() == [word.text for word in one.words if word.text]
    moments = [1.0, *(moment for word in one.words for moment in (word.start, word.end)), 1.0 + len(words)]
    assert moments == sorted(moments)


def test_a_file_of_replacements(tmp_path: Path) -> None:
    path = tmp_path / "names.tsv"
    path.write_bytes("\ufeff# names\r\njason\tJSON\r\n\r\npie  torch\tPyTorch 2\r\num\t\r\n".encode())
    assert read_replacements(path).pairs == (("jason", "JSON"), ("pie torch", "PyTorch 2"), ("um", ""))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("jason JSON\n", r"names.tsv:1: expected .* one tab"),
        ("a\tb\n\tb\n", r"names.tsv:2: expected"),
        ("a\tb\tc\n", r"names.tsv:1: expected"),
        ("a b\tc\n# x\na  b\td\n", r"names.tsv:3: 'a b' is replaced by line 1 already"),
        ("# nothing\n\n", "no replacements in it"),
    ],
)
def test_what_is_wrong_with_a_file_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "names.tsv"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_replacements(path)
    with pytest.raises(ConfigError, match="cannot read the replacements"):
        read_replacements(tmp_path / "absent.tsv")
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_replacements(path)


def test_a_request_gets_what_it_wants_replaced(tiny_workspace: Path) -> None:
    recognizer = Recognizer.load(tiny_workspace / "model")
    audio = tiny_workspace / "audio" / "0.wav"
    plain = recognizer.transcribe(audio)
    word = plain.text.split()[0]
    options = RequestOptions(replacements=Replacements(((word, "what I want"),)))
    with closing(recognizer.engine.submit(audio, options)) as handle:
        found = handle.result()
    assert found.text == plain.text.replace(word, "what I want")
    assert found.segments[0].words[0].text == "what"
    assert found.segments[0].start == plain.segments[0].start
