"""Tables by speaker and length, frequent errors, and what people see of a score."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from asr.errors import ScoringError
from asr.scoring.alignment import ErrorCounts
from asr.scoring.breakdown import Group, by_length, by_speaker, by_utterance, frequent_errors
from asr.scoring.report import alignment_rows, alignment_text, print_results, write_alignments
from asr.scoring.results import gather
from asr.scoring.rules import Rules
from asr.scoring.wer import Score, align_words, score

REFERENCES = {"u1": "a b c", "u2": "", "u3": "a b c d e f g", "u4": "a b"}
HYPOTHESES = {"u1": "a x c", "u2": "y", "u3": "a x c d e f", "u4": "a b"}
SPEAKERS = {"u1": "bea", "u2": "anna", "u3": "anna", "u4": None}


@pytest.fixture
def result() -> Score:
    return score(REFERENCES, HYPOTHESES, speakers=SPEAKERS)


def test_speakers_come_in_alphabetical_order_and_unknown_ones_last(result: Score) -> None:
    assert by_speaker(result) == [
        Group("anna", 2, ErrorCounts(5, 1, 1, 1), 2),
        Group("bea", 1, ErrorCounts(2, 1, 0, 0), 1),
        Group("(unknown)", 1, ErrorCounts(2, 0, 0, 0), 0),
    ]


def test_lengths_are_those_of_the_references(result: Score) -> None:
    assert by_length(result) == [
        Group("0", 1, ErrorCounts(insertions=1), 1),
        Group("1-5", 2, ErrorCounts(4, 1, 0, 0), 1),
        Group("6-10", 1, ErrorCounts(5, 1, 1, 0), 1),
    ]
    long = score({"u": "a " * 41}, {"u": ""})
    assert [group.name for group in by_length(long)] == ["41 or more"]


def test_every_utterance_is_a_group_of_its_own(result: Score) -> None:
    assert by_utterance(result)[1] == Group("u2", 1, ErrorCounts(insertions=1), 1)
    assert sum((group.counts for group in by_utterance(result)), ErrorCounts()) == result.words


def test_the_most_frequent_errors_come_first(result: Score) -> None:
    errors = frequent_errors(result, 2)
    assert errors.substitutions == [(("b", "x"), 2)]
    assert (errors.deletions, errors.insertions) == ([("g", 1)], [("y", 1)])
    many = score({"u": "c b a a"}, {"u": ""})
    assert frequent_errors(many, 2).deletions == [("a", 2), ("b", 1)]


def test_words_left_out_by_permission_are_no_errors() -> None:
    left_out = score({"u": "(uh) a"}, {"u": "a"}, rules=Rules(markup=True))
    assert frequent_errors(left_out, 5).to_json() == {"substitutions": [], "deletions": [], "insertions": []}
    assert left_out.characters == ErrorCounts(hits=1)
    assert alignment_rows(left_out.alignment(0)) == ("(uh) a", "     a", "")


def test_alignments_are_printed_in_columns() -> None:
    assert alignment_rows(align_words("the cat sat 日本", "the hat sat on")) == (
        "the cat sat 日本",
        "the hat sat on",
        "    S       S",
    )
    assert alignment_rows(align_words("a bee", "a")) == ("a bee", "a ***", "  D")
    assert alignment_rows(align_words("", "a")) == ("*", "a", "I")


def test_an_utterance_is_written_as_sclite_writes_it(result: Score, tmp_path: Path) -> None:
    text = "id: (u1)\nSpeaker: bea\nScores: (#C #S #D #I) 2 1 0 0\nREF:  a b c\nHYP:  a x c\nEval:   S\n\n"
    assert next(alignment_text(result)) == text
    write_alignments(result, tmp_path / "new" / "out.txt", Console(file=io.StringIO()))
    assert (tmp_path / "new" / "out.txt").read_text(encoding="utf-8") == "".join(alignment_text(result))


def shown(results_score: Score, *, is_terminal: bool = False, second: Score | None = None) -> str:
    console = Console(
        file=io.StringIO(), force_terminal=is_terminal, width=100, soft_wrap=True, markup=False, highlight=False
    )
    results = gather(results_score, second, tables=("speaker", "length", "utterance"), top=3)
    print_results(results, console, cer=True)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_tables_are_plain_where_they_are_piped_and_drawn_in_a_terminal(result: Score) -> None:
    assert shown(result).isascii()
    assert "\x1b" not in shown(result)
    assert "┃" in shown(result, is_terminal=True)


def test_what_is_shown_of_a_score(result: Score) -> None:
    lines = [line.split() for line in shown(result).splitlines()]
    assert ["anna", "2", "2", "42.86", "7", "5", "1", "1", "1"] in lines
    assert ["1-5", "2", "1", "20.00", "5", "4", "1", "0", "0"] in lines
    assert ["u4", "1", "0", "0.00", "2", "2", "0", "0", "0"] in lines
    assert ["2", "b", ">", "x", "1", "g", "1", "y"] in lines
    assert "MER 30.77 %" in shown(result)
    assert "75.00 % of 4 utterances with errors" in shown(result)


def test_brackets_in_words_are_words() -> None:
    noisy = score({"u": "[noise] :smile: a"}, {"u": "[b] [/b] a"})
    assert "[noise] > [b]" in shown_plain(noisy)
    assert ":smile: > [/b]" in shown_plain(noisy)


def shown_plain(noisy: Score) -> str:
    console = Console(file=io.StringIO(), width=100, markup=False, emoji=False, highlight=False)
    print_results(gather(noisy, top=5), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_comparison_shows_both_systems_and_the_verdict(result: Score) -> None:
    text = shown(result, second=score(REFERENCES, REFERENCES, speakers=SPEAKERS))
    lines = [line.split()[:3] for line in text.splitlines()]
    assert ["WER", "A", "(HYP)"] in lines
    assert ["WER", "B", "(HYP2)"] in lines
    assert ["CER", "B", "(HYP2)"] in lines
    assert "(WER of A 33.33 %, of B 0.00 %; A minus B 33.33 points" in text


def test_unknown_tables_and_unknown_speakers_are_errors(result: Score) -> None:
    with pytest.raises(ScoringError, match="unknown table 'speakers'; did you mean 'speaker'"):
        gather(result, tables=["speakers"])
    with pytest.raises(ScoringError, match="no speaker is known"):
        gather(score({"u": "a"}, {"u": "a"}), tables=["speaker"])
