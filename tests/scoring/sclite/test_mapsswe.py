"""MAPSSWE against what NIST's sc_stats says, and segments by hand."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from asr.errors import ScoringError
from asr.scoring.compare import compare
from asr.scoring.rules import Rules
from asr.scoring.sclite.mapsswe import MatchedPairs, matched_pairs, segment_errors
from asr.scoring.wer import Score, align_words, score


def segments(reference: str, first: str, second: str) -> list[tuple[int, int]]:
    return segment_errors(align_words(reference, first), align_words(reference, second))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a b c d e f", "a b c d e f", []),
        ("x b c d e f", "a b c d e f", [(1, 0)]),
        ("x b c x e f", "a b c d e f", [(1, 0), (1, 0)]),  # two right words part segments
        ("x b x d e f", "a b c d e f", [(2, 0)]),  # one does not
        ("x b c d e f", "a b c x e f", [(1, 0), (0, 1)]),
        ("x b c d e f", "a b x d e f", [(1, 1)]),  # right in one system only
        ("x b i c d x f", "a b c d e f", [(2, 0), (1, 0)]),  # an insertion is an error between words
        ("a b c d e f i", "a b c d f", [(1, 1)]),
        ("a b c d e f i i", "a b c d e f i", [(2, 1)]),
        ("i a b c d e f", "a b c d e f i", [(1, 0), (0, 1)]),
        ("", "a b c d e f", [(6, 0)]),
    ],
)
def test_segments_end_before_two_words_that_both_systems_have_right(
    first: str, second: str, expected: list[tuple[int, int]]
) -> None:
    assert segments("a b c d e f", first, second) == expected
    assert segments("a b c d e f", second, first) == [(errors, other) for other, errors in expected]


def test_all_errors_fall_into_segments_also_where_the_systems_chose_different_alternatives() -> None:
    rules = Rules(markup=True)
    references = {"u": "a { b / b c d / @ } e f g h"}
    one, two = (score(references, {"u": text}, rules=rules) for text in ("a b c x e f g", "x e f g i h"))
    assert one.references[0] != two.references[0]
    found = segment_errors(one.alignment(0), two.alignment(0))
    assert [sum(column) for column in zip(*found, strict=True)] == [one.words.errors, two.words.errors]


def test_z_is_the_mean_by_its_standard_error() -> None:
    found = matched_pairs([1, 0, 2, -1, 1])
    assert found == MatchedPairs(5, 0.6, pytest.approx(np.std([1, 0, 2, -1, 1], ddof=1)), pytest.approx(1.1766968))
    assert found.p_value == pytest.approx(0.2393, abs=1e-4)  # two-sided, from a table of the normal distribution


@pytest.mark.parametrize("differences", [[], [3], [1, 1, 1]])
def test_differences_that_are_all_alike_say_nothing(differences: list[int]) -> None:
    assert (matched_pairs(differences).z, matched_pairs(differences).p_value) == (0.0, 1.0)


# What sc_stats 1.3 (SCTK 2.4.10) prints for the two systems: segments, mean, standard deviation, Z.
SC_STATS = {"test-clean": (1536, 0.296, 0.841, 13.773), "test-other": (3208, 0.368, 0.926, 22.543)}


@pytest.mark.parametrize("name", sorted(SC_STATS))
def test_two_published_systems_compare_as_in_sc_stats(corpora: Path, name: str) -> None:
    def read(file: str) -> dict[str, str]:
        with open(corpora / "scoring" / file, encoding="utf-8", newline="") as lines:
            return {row[0]: row[1] for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)}

    references = read(f"{name}.ref.tsv")
    systems = [
        score(references, read(f"{name}.{system}.hyp.tsv"), rules=Rules(align="sclite"))
        for system in ("b1.rnnt_baseline", "b2.b1+nnlm")
    ]
    comparison = compare(*systems)
    found = comparison.mapsswe
    assert (found.segments, *(round(value, 3) for value in (found.mean, found.deviation, found.z))) == SC_STATS[name]
    assert comparison.verdict.startswith("B is better than A (WER of A ")
    assert compare(*reversed(systems)).verdict.startswith("B is worse than A (WER of A ")


def system(error_rate: float, seed: int, num_utterances: int = 200) -> Score:
    rng = np.random.default_rng(seed)
    texts = {f"s{row % 5}-{row}": "a b c d e f g h" for row in range(num_utterances)}
    wrong = {
        name: " ".join("x" if rng.random() < error_rate else w for w in text.split()) for name, text in texts.items()
    }
    return score(texts, wrong, speakers={name: name.split("-")[0] for name in texts})


def test_equally_good_systems_are_called_so_about_as_often_as_they_should() -> None:
    verdicts = [compare(system(0.2, 2 * seed), system(0.2, 2 * seed + 1)).verdict for seed in range(40)]
    neither = sum(verdict.startswith("B is neither better nor worse than A as far as") for verdict in verdicts)
    assert neither >= 34  # 38 of 40 expected at the 5 % level


def test_tests_that_disagree_are_not_sure() -> None:
    comparison = compare(system(0.2, 0), system(0.1, 1))
    assert comparison.verdict.startswith("B is better than A")
    unsure = type(comparison)(
        comparison.first, comparison.second, comparison.bootstrap, None, MatchedPairs(9, 0.1, 1.0, 0.3)
    )
    assert unsure.verdict.startswith("It is not sure that B is better than A: the tests disagree (WER of A ")


def test_the_json_has_both_tests_and_that_of_speakers() -> None:
    report = compare(system(0.2, 0), system(0.1, 1)).to_json()
    assert set(report) == {"wer", "bootstrap", "bootstrap_by_speaker", "mapsswe", "verdict", "second"}
    low, high = report["bootstrap"]["ci95"]
    assert 0 < low < report["bootstrap"]["difference"] < high
    assert report["bootstrap_by_speaker"]["difference"] == report["bootstrap"]["difference"]
    assert report["mapsswe"]["p"] == math.erfc(report["mapsswe"]["z"] / math.sqrt(2))


def test_there_is_nothing_to_say_without_reference_words() -> None:
    nothing = score({"u": ""}, {"u": "a"})
    assert compare(nothing, nothing).verdict == "Nothing can be said about A and B: there are no reference words."
    assert compare(nothing, nothing).to_json()["bootstrap"] is None


def test_other_utterances_are_not_compared() -> None:
    with pytest.raises(ScoringError, match="not scored on the same utterances"):
        compare(system(0.2, 0), system(0.2, 0, num_utterances=100))
