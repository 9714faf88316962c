"""Two files brought together by id, whatever the order of their rows."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from asr.errors import ScoringError
from asr.scoring.pairing import TextPair, TextRow, pair_texts, with_speakers
from asr.scoring.speakers import read_speakers, speaker_lookup, speaker_prefix


def rows(ids: str) -> list[TextRow]:
    return [TextRow(name, f"text {name}") for name in ids]


@pytest.mark.parametrize("order", [*map("".join, itertools.permutations("abcd"))])
def test_pairs_come_in_the_order_of_the_references(order: str) -> None:
    pairs = list(pair_texts(rows("abcd"), rows(order)))
    assert pairs == [TextPair(name, f"text {name}", f"text {name}") for name in "abcd"]


def test_rows_in_the_same_order_are_paired_while_they_are_read() -> None:
    read = 0

    def hypotheses():
        nonlocal read
        for row in rows("abc"):
            read += 1
            yield row

    pairs = pair_texts(rows("abc"), hypotheses())
    next(pairs)
    assert read == 1


@pytest.mark.parametrize(
    ("references", "hypotheses", "message"),
    [
        ("ab", "a", r"1 of 2 references have no hypothesis: b \(--allow-missing"),
        ("a", "abc", "2 of 3 hypotheses have no reference: b, c$"),
        ("ab", "bc", r"1 of 2 references have no hypothesis: a .*; 1 of 2 hypotheses have no reference: c$"),
        ("abca", "abc", "the references: 1 id occurs more than once: a$"),
        ("abc", "abca", "the hypotheses: 1 id occurs more than once: a$"),
        ("abc", "aabc", "the hypotheses: 1 id occurs more than once: a$"),
        ("abc", "ccab", "the hypotheses: 1 id occurs more than once: c$"),
        ("abc", "cabc", "the hypotheses: 1 id occurs more than once: c$"),
        ("a", "abb", "the hypotheses: 1 id occurs more than once: b$"),
        ("", "a", "there are no references"),
    ],
)
def test_ids_that_do_not_fit_are_named(references: str, hypotheses: str, message: str) -> None:
    with pytest.raises(ScoringError, match=message):
        list(pair_texts(rows(references), rows(hypotheses)))


@pytest.mark.parametrize("hypotheses", ["ac", "ca"])
def test_missing_hypotheses_are_let_through_when_allowed(hypotheses: str) -> None:
    pairs = list(pair_texts(rows("abc"), rows(hypotheses), allow_missing=True))
    assert [pair.hypothesis is None for pair in pairs] == [False, True, False]


def test_the_speaker_of_the_reference_counts_before_that_of_the_hypothesis() -> None:
    references = [TextRow("a", "", "anna"), TextRow("b", "")]
    hypotheses = [TextRow("a", "", "bea"), TextRow("b", "", "bea")]
    assert [pair.speaker for pair in pair_texts(references, hypotheses)] == ["anna", "bea"]


def test_utterances_without_a_speaker_are_named() -> None:
    pairs = [TextPair("a", "", ""), TextPair("b", "", "")]
    assert [pair.speaker for pair in with_speakers(pairs, str.upper)] == ["A", "B"]
    with pytest.raises(ScoringError, match="1 utterance has no speaker: b"):
        list(with_speakers(pairs, {"a": "anna"}.get))


def test_the_speaker_in_an_id_stands_before_the_first_hyphen_or_underscore() -> None:
    names = ("1089-134686-0001", "anna_2-3", "anna", "-anna")
    assert list(map(speaker_prefix, names)) == ["1089", "anna", None, None]
    assert speaker_lookup(None, from_id=False) is None
    assert speaker_lookup(None, from_id=True) is speaker_prefix


def test_a_file_of_speakers_is_read_or_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "utt2spk"
    path.write_text("a anna\n\nb bea\n", encoding="utf-8")
    assert read_speakers(path) == {"a": "anna", "b": "bea"}
    for content, message in (("a anna\na bea\n", "utt2spk:2: id 'a' already has"), ("a\n", "utt2spk:1: expected 'id")):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ScoringError, match=message):
            read_speakers(path)
    with pytest.raises(ScoringError, match="cannot read the speakers"):
        read_speakers(tmp_path)
