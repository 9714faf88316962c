"""Rates and counts against jiwer, which defines them."""

import csv

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import ScoringError, TextError
from asr.scoring.alignment import AlignedPair, ErrorCounts, count_operations, levenshtein
from asr.scoring.hints import normalizer_hint
from asr.scoring.wer import align_words, score, word_hits

words = st.lists(st.sampled_from(["a", "b", "c", "ab", "ba", "한국", "é", "x'y"]), max_size=10)
texts = words.map(" ".join)
pairs = st.lists(st.tuples(words.filter(bool).map(" ".join), texts), min_size=1, max_size=8)


def by_row(values):
    return {f"utterance{row}": value for row, value in enumerate(values)}


def assert_equals_jiwer(references, hypotheses):
    result = score(by_row(references), by_row(hypotheses))
    for ours, theirs in (
        (result.words, jiwer.process_words(references, hypotheses)),
        (result.characters, jiwer.process_characters(references, hypotheses)),
    ):
        expected = ErrorCounts(theirs.hits, theirs.substitutions, theirs.deletions, theirs.insertions)
        assert ours == expected
    report = result.to_json()
    words = jiwer.process_words(references, hypotheses)
    assert (report["wer"], report["mer"], report["wil"]) == (words.wer, words.mer, words.wil)
    assert report["cer"] == jiwer.cer(references, hypotheses)


@given(pairs)
def test_rates_and_counts_of_random_texts_equal_jiwer_s(pairs):
    references, hypotheses = map(list, zip(*pairs, strict=True))
    assert_equals_jiwer(references, hypotheses)


@pytest.mark.parametrize("system", ["b1.rnnt_baseline", "b2.b1+nnlm"])
@pytest.mark.parametrize("name", ["test-clean", "test-other"])
def test_rates_and_counts_of_real_hypotheses_equal_jiwer_s(corpora, name, system):
    def read(file):
        with open(corpora / "scoring" / file, encoding="utf-8", newline="") as lines:
            return {row[0]: row[1] for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)}

    references, hypotheses = read(f"{name}.ref.tsv"), read(f"{name}.{system}.hyp.tsv")
    assert len(references) > 2600
    assert_equals_jiwer(list(references.values()), [hypotheses[id] for id in references])
    published = (corpora / "scoring" / f"{name}.{system}.published.txt").read_text()
    assert f"ref_words={score(references, hypotheses).words.reference_length}," in published


def test_spaces_beside_chinese_and_japanese_characters_are_no_characters():
    result = score({"u": "今天 天气 很好 ok then", "v": "한국 말"}, {"u": "今天天 气很 好 ok than", "v": "한국말"})
    assert result.characters == ErrorCounts(hits=12 + 3, substitutions=1, deletions=1)


def test_a_speaker_interval_needs_every_speaker_and_draws_speakers():
    references, hypotheses = by_row(["a b"] * 4), by_row(["a b", "a b", "x y", "x y"])
    speakers = dict(zip(references, ["anna", "anna", "bea", "bea"], strict=True))
    result = score(references, hypotheses, speakers=speakers)
    assert result.speaker_interval == (0.0, 1.0)
    assert result.to_json()["speakers"] == 2
    assert result.to_json()["ci95_by_speaker"] == [0.0, 1.0]
    assert score(references, hypotheses, speakers=speakers | {"utterance0": None}).speaker_interval is None


def test_the_sentence_error_rate_is_the_share_of_utterances_with_an_error():
    result = score(by_row(["a b", "c", "", ""]), by_row(["a x", "c", "", "d"]))
    assert result.sentence_error_rate == 0.5


def test_texts_and_alignment_of_an_utterance_are_those_that_were_compared():
    result = score({"u": "A  b", "v": "c"}, {"u": "a c", "v": "c"}, normalize="basic")
    assert (result.references[0], result.hypotheses[0], result.operations[0]) == ("a b", "a c", "=S")
    assert result.alignment(0) == [AlignedPair("a", "a", "="), AlignedPair("b", "c", "S")]
    assert list(result.alignments()) == [result.alignment(row) for row in range(2)]


@given(texts, texts)
def test_an_alignment_keeps_both_texts_and_explains_the_counts(reference, hypothesis):
    alignment = align_words(reference, hypothesis)
    assert [pair.reference for pair in alignment if pair.reference is not None] == reference.split()
    assert [pair.hypothesis for pair in alignment if pair.hypothesis is not None] == hypothesis.split()
    hits = sum(pair.reference == pair.hypothesis for pair in alignment)
    deletions = sum(pair.hypothesis is None for pair in alignment)
    insertions = sum(pair.reference is None for pair in alignment)
    counts = ErrorCounts(hits, len(alignment) - hits - deletions - insertions, deletions, insertions)
    assert counts == count_operations(levenshtein(reference.split(), hypothesis.split()))


def test_rates_are_null_without_reference_words_and_insertions_still_count():
    result = score({"u": ""}, {"u": "a b"})
    assert (result.words.rate, result.characters.rate, result.interval) == (None, None, None)
    report = result.to_json()
    assert (report["wer"], report["cer"], report["ci95"], report["insertions"]) == (None, None, None, 2)


def test_an_empty_reference_among_others_adds_its_insertions():
    result = score({"u": "", "v": "a b c d"}, {"u": "x", "v": "a b c d"})
    assert result.words == ErrorCounts(hits=4, insertions=1)
    assert result.words.rate == 0.25


def test_the_json_has_the_stable_keys():
    result = score({"u": "a b c", "v": "d"}, {"v": "d e", "u": "a x"})
    report = result.to_json()
    low, high = report.pop("ci95")
    assert 0 <= low <= report["wer"] <= high
    assert report == {
        "wer": 0.75,
        "cer": 5 / 6,
        "mer": 0.6,
        "wil": 1 - 2 / 4 * (2 / 4),
        "sentence_error_rate": 1.0,
        "substitutions": 1,
        "deletions": 1,
        "insertions": 1,
        "hits": 2,
        "reference_words": 4,
        "utterances": 2,
        "missing": 0,
        "ci95_by_speaker": None,
        "speakers": None,
        "cer_normalize": "cjk",
        "align": "levenshtein",
        "normalize": "none",
        "markup": False,
        "hesitations": [],
        "split_hyphens": False,
        "merge_compounds": False,
    }
    assert [result.counts(row) for row in range(2)] == [ErrorCounts(1, 1, 1, 0), ErrorCounts(1, 0, 0, 1)]


def test_the_normaliser_acts_on_both_sides_and_is_on_record():
    assert score({"u": "Don't!"}, {"u": "DON\u2019T"}).words.errors == 1
    result = score({"u": "Don't!"}, {"u": "DON\u2019T"}, normalize="basic")
    assert result.words == ErrorCounts(hits=1)
    assert result.to_json()["normalize"] == "basic"
    with pytest.raises(TextError, match="unknown normaliser"):
        score({"u": "a"}, {"u": "a"}, normalize="basics")


def test_ids_of_one_side_only_are_named_and_counted():
    references = by_row(["a"] * 9)
    with pytest.raises(ScoringError, match=r"7 of 9 .* no hypothesis: utterance2, .*utterance6, \.\.\."):
        score(references, by_row(["a"] * 2))
    with pytest.raises(ScoringError, match=r"1 of 9 references .* utterance8 .*; 1 of 9 hypotheses .* no reference: x"):
        score(references, by_row(["a"] * 8) | {"x": "a"})
    with pytest.raises(ScoringError, match="no references"):
        score({}, {})


def test_missing_hypotheses_count_as_deletions_when_allowed_and_extra_ones_stay_an_error():
    result = score({"u": "a b", "v": "c"}, {"v": "c"}, allow_missing=True)
    assert result.words == ErrorCounts(hits=1, deletions=2)
    with pytest.raises(ScoringError, match="no reference: w"):
        score({"u": "a b"}, {"w": "c"}, allow_missing=True)


def test_counts_add_up():
    assert sum([ErrorCounts(1, 2, 3, 4), ErrorCounts(10, 20, 30, 40)], ErrorCounts()) == ErrorCounts(11, 22, 33, 44)


def test_a_hypothesis_word_is_right_unless_substituted_or_inserted() -> None:
    assert word_hits("a b c d", "a x c e d") == [True, False, True, False, True]
    assert word_hits("a b", "") == []
    assert word_hits("", "a") == [False]


@pytest.mark.parametrize(
    ("hypothesis", "is_hinted"),
    [("HELLO, there", True), ("cafe\u0301 there", True), ("yellow bear", False), ("hello there", False)],
)
def test_texts_that_differ_in_case_or_unicode_forms_alone_are_told(hypothesis: str, is_hinted: bool) -> None:
    reference = "caf\u00e9 there" if "\u0301" in hypothesis else "hello there"
    hint = normalizer_hint(score({"a": reference, "b": "one"}, {"a": hypothesis, "b": "one"}))
    assert (hint is not None) is is_hinted
    assert hint is None or "with --normalize basic the WER is 0.00 %" in hint
