"""sclite's alignment against published counts, the examples of its manual, its own test suite, and sclite itself."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import ScoringError
from asr.scoring.alignment import ErrorCounts, align, count_operations
from asr.scoring.report import alignment_rows
from asr.scoring.rules import Rules
from asr.scoring.sclite.alignment import GAP_COST, SUBSTITUTION_COST, sclite
from asr.scoring.wer import score

SCLITE = shutil.which("sclite", path="/usr/lib/sctk/bin") or shutil.which("sclite")
words = st.lists(st.sampled_from("abcd"), max_size=9)


@pytest.mark.parametrize("system", ["b1.rnnt_baseline", "b2.b1+nnlm"])
@pytest.mark.parametrize("name", ["test-clean", "test-other"])
def test_counts_and_rate_are_the_published_ones_to_the_last_digit(corpora: Path, name: str, system: str) -> None:
    def read(file: str) -> dict[str, str]:
        with open(corpora / "scoring" / file, encoding="utf-8", newline="") as lines:
            return {row[0]: row[1] for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)}

    published = (corpora / "scoring" / f"{name}.{system}.published.txt").read_text(encoding="utf-8")
    expected = dict(re.findall(r"(\w+)=([\d.]+)", published.splitlines()[0]))
    result = score(read(f"{name}.ref.tsv"), read(f"{name}.{system}.hyp.tsv"), rules=Rules(align="sclite"))
    counts = result.words
    assert (counts.substitutions, counts.insertions, counts.deletions, counts.reference_length) == tuple(
        int(expected[key]) for key in ("subs", "ins", "dels", "ref_words")
    )
    assert str(100 * counts.errors / counts.reference_length) == expected["error_rate"]


# The utterances with errors in the report "pralign" of sclite's manual.
MANUAL = [
    (
        "for a two trillion dollar business built on public confidence this trend is disheartening at best",
        "freed to trying to lure business built on public confidence this trend is this tightening and best",
        (
            "for   a  two    trillion dollar business built on public confidence this trend is **** disheartening at"
            "  best",
            "freed to trying to       lure   business built on public confidence this trend is this tightening    and"
            " best",
            "S     S  S      S        S                                                        I    S             S",
        ),
    ),
    (
        "by fund managers unsavory fund sales practices at banks and the use of",
        "by fund managers and save refund sales practices at banks and use of",
        (
            "by fund managers *** unsavory fund   sales practices at banks and the use of",
            "by fund managers and save     refund sales practices at banks and *** use of",
            "                 I   S        S                                   D",
        ),
    ),
]


@pytest.mark.parametrize(("reference", "hypothesis", "expected"), MANUAL)
def test_the_examples_of_the_manual_come_out_as_printed(
    reference: str, hypothesis: str, expected: tuple[str, str, str]
) -> None:
    sides = reference.split(), hypothesis.split()
    assert alignment_rows(align(*sides, sclite(*sides))) == expected


# Cases of SCTK's own test suite (tests.ref, tests.hyp) with the counts C S D I of its base results (test7.pra).
SUITE = [
    ("a b { c d / c / e } e f g", "a b c d e f g", 7, 0, 0, 0),
    ("a b { c / c d / e } e f g", "a b c d e f g", 7, 0, 0, 0),
    ("a b { c / e / c d } f g", "a b c d e f g", 6, 0, 0, 1),
    ("a b c d { e / c / @ } f g", "a b c d e f g", 7, 0, 0, 0),
    ("a b c d e { e / c / @ } f g", "a b c d e f g", 7, 0, 0, 0),
    (
        "uh had a long { age-old / age old } problem of my bright",
        "uh have along which go problem of my private",
        4,
        5,
        0,
        0,
    ),
    ("a { b / cd } { e f / ef }", "a {bc / b } { e d / ef}", 3, 0, 0, 0),
    ("a { b / cd / { g h i / gh i / g ih} bd } { e { i n / th } f / ef }", "a gh i bd e i th f", 7, 0, 0, 1),
    ("a { b / cd / { g h i / gh i / g ih} bd } { e { i n / th } f / ef }", "a gh i bd e i n th f", 8, 0, 0, 1),
    ("this is the ten", "th {e/is} is {th/t} en", 1, 3, 0, 1),
    ("{the / this} is the tea", "th { {e / @} is {w as / i / s / @ } / d is } is {th/t} en", 1, 3, 0, 1),
    ("", "a b c e f g h i j k", 0, 0, 0, 10),
    ("a { c / @ } d", "a c i d", 3, 0, 0, 1),
    ("a { c / @ } d", "a d", 2, 0, 0, 0),
    ("a { c / @ } d", "a {d / @} d", 2, 0, 0, 0),
    ("a d e", "a d @ e", 3, 0, 0, 0),
    ("a d @ e", "a d e", 3, 0, 0, 0),
    ("b (c) d", "b e", 2, 1, 0, 0),
    ("b (c) d", "b c e", 2, 1, 0, 0),
    ("b (c) d", "b d e", 3, 0, 0, 1),
    ("b (c) d", "b c i e", 2, 1, 0, 1),
    ("b (c) d", "b s i e", 1, 2, 0, 1),
    ("b (c) d", "e", 1, 1, 1, 0),
    ("(a) (c) b d e", "s s s", 2, 3, 0, 0),
    ("a c b (d) (e)", "s s s", 2, 3, 0, 0),
]


@pytest.mark.parametrize(("reference", "hypothesis", "correct", "substituted", "deleted", "inserted"), SUITE)
def test_the_cases_of_sclite_s_own_suite_have_its_counts(
    reference: str, hypothesis: str, correct: int, substituted: int, deleted: int, inserted: int
) -> None:
    *_, operations = Rules(align="sclite", markup=True).compare(reference, hypothesis)
    assert count_operations(operations) == ErrorCounts(correct, substituted, deleted, inserted)


def cheapest(reference: list[str], hypothesis: list[str]) -> int:
    """The cost of the best alignment, by trying everything."""
    if not reference or not hypothesis:
        return GAP_COST * (len(reference) + len(hypothesis))
    pair = 0 if reference[0] == hypothesis[0] else SUBSTITUTION_COST
    return min(
        pair + cheapest(reference[1:], hypothesis[1:]),
        GAP_COST + cheapest(reference[1:], hypothesis),
        GAP_COST + cheapest(reference, hypothesis[1:]),
    )


@given(st.lists(st.sampled_from("ab"), max_size=5), st.lists(st.sampled_from("abc"), max_size=5))
def test_no_alignment_is_cheaper_and_the_words_are_all_there(reference: list[str], hypothesis: list[str]) -> None:
    operations = sclite(reference, hypothesis)
    counts = count_operations(operations)
    cost = SUBSTITUTION_COST * counts.substitutions + GAP_COST * (counts.deletions + counts.insertions)
    assert cost == cheapest(reference, hypothesis)
    pairs = align(reference, hypothesis, operations)
    assert [pair.reference for pair in pairs if pair.reference] == reference
    assert [pair.hypothesis for pair in pairs if pair.hypothesis] == hypothesis
    assert all((pair.operation == "=") == (pair.reference == pair.hypothesis) for pair in pairs)


@given(words, words)
def test_a_network_of_one_path_is_aligned_like_its_words(reference: list[str], hypothesis: list[str]) -> None:
    rules = Rules(align="sclite", markup=True)
    plain, marked = rules.compare(" ".join(reference), " ".join(hypothesis)), ["{ " + word + " }" for word in reference]
    assert rules.compare(" ".join(marked), " ".join(hypothesis)) == plain


@pytest.mark.skipif(SCLITE is None, reason="NIST's sclite is not installed (Debian has it in the package sctk)")
def test_random_texts_with_and_without_marks_have_the_counts_that_sclite_itself_gives(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def text(depth: int, most: int) -> str:
        pieces = []
        for _ in range(rng.integers(1, most + 1)):
            kind = rng.random()
            if kind < 0.15 and depth:
                choices = ("@" if rng.random() < 0.25 else text(depth - 1, 2) for _ in range(rng.integers(2, 4)))
                pieces.append(f"{{ {' / '.join(choices)} }}")
            else:
                word = "abcd"[rng.integers(4)]
                pieces.append(f"({word})" if kind < 0.3 and depth else word)
        return " ".join(pieces)

    references = {f"s_{row}": text(2 * (row % 2), 9) for row in range(1000)}
    hypotheses = {name: text(0, 10) for name in references}
    for name, texts in (("ref", references), ("hyp", hypotheses)):
        (tmp_path / name).write_text("".join(f"{text} ({id})\n" for id, text in texts.items()))
    files = ("-r", tmp_path / "ref", "-h", tmp_path / "hyp", "-O", tmp_path, "-n", "out")
    subprocess.run([SCLITE, *files, "-e", "utf-8", "-i", "spu_id", "-s", "-D", "-o", "pralign", "-f", "0"], check=True)
    found = re.findall(r"id: \((\w+)\)\nScores: \(#C #S #D #I\) ([\d ]+)", (tmp_path / "out.pra").read_text())
    result = score(references, hypotheses, rules=Rules(align="sclite", markup=True))
    ours = {name: " ".join(map(str, counts)) for name, counts in zip(result.ids, result.utterance_counts, strict=True)}
    differing = [row for row, (name, counts) in enumerate(found) if counts.strip() != ours[name]]
    assert len(found) == len(references)
    assert all(row % 2 for row in differing)  # plain texts never differ
    assert len(differing) <= 2  # where alternatives stand side by side, sclite now and then misses the cheapest way


@pytest.mark.parametrize("text", ["a { b / c", "a } b", "{ a / { b } "])
def test_braces_without_a_partner_are_an_error_with_the_utterance(text: str) -> None:
    with pytest.raises(ScoringError, match=r"utterance u: '[{}]' without '[{}]' in "):
        score({"u": text}, {"u": "a"}, rules=Rules(markup=True))
    assert score({"u": text}, {"u": text}).words.errors == 0  # without markup they are words


def test_an_unknown_alignment_is_an_error() -> None:
    with pytest.raises(ScoringError, match="unknown alignment 'sclit'; did you mean 'sclite'"):
        Rules(align="sclit")
