"""Rows that cannot be trained on are set aside with a reason, and all others are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asr.data.doctor import CODES, check_rows, summary
from asr.types import Utterance

GOOD = Utterance("good", Path("/nowhere.wav"), 2.0, "Word 1")


def code_of(row: Utterance, *arguments: object, **limits: object) -> str | None:
    kept, rejected = check_rows([GOOD, row], *arguments, **limits)
    assert kept[0] == GOOD
    assert [*kept[1:], *(rejection.utterance for rejection in rejected)] == [row]
    return rejected[0].code if rejected else None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, None),
        ({"text": " ?! "}, "empty_text"),
        ({"text": "wörd"}, "unknown_token"),
        ({"duration": 0.0}, "too_short"),
        ({"duration": 0.02}, "too_short"),
        ({"duration": 0.49}, "too_short"),
        ({"duration": 0.5}, None),
        ({"duration": 8.0}, None),
        ({"duration": 8.01}, "too_long"),
        ({"text": "", "duration": 0.0}, "empty_text"),
    ],
)
def test_each_fault_has_its_code(change, code, tokenizer, frontend):
    row = replace(GOOD, id="row", **change)
    assert code_of(row, tokenizer, "basic", frontend, None, max_duration=8.0, min_duration=0.5) == code


@pytest.mark.parametrize(
    ("text", "speed", "code"),
    [
        ("word 1", 1.0, None),  # 1 s: 98 feature frames, 24 encoder frames
        ("word 1 word 1 word 1 wor", 1.0, None),  # 24 tokens
        ("word 1 word 1 word 1 word", 1.0, "ctc_infeasible"),
        ("word 1 word 1 word 11 wo", 1.0, "ctc_infeasible"),  # 24 tokens and a blank between equal ones
        ("word 1 word 1 word 1 wor", 1.1, "ctc_infeasible"),
        ("word 1 word 1 word 1", 1.1, None),
    ],
)
def test_rows_ctc_cannot_align_are_found_also_at_the_fastest_speed(text, speed, code, tokenizer, frontend):
    row = replace(GOOD, id="row", text=text, duration=1.0)
    assert code_of(row, tokenizer, "basic", frontend, lambda frames: frames // 4, max_speed=speed) == code


def test_without_an_encoder_alignment_is_not_checked(tokenizer, frontend):
    assert code_of(replace(GOOD, id="row", text="word " * 500), tokenizer, "basic", frontend) is None


def test_no_rows_are_no_fault(tokenizer, frontend):
    assert check_rows([], tokenizer, "basic", frontend) == ([], [])


def test_the_summary_has_a_line_for_every_code_that_occurred(tokenizer, frontend):
    rows = [replace(GOOD, id=f"row{n}", text=text) for n, text in enumerate(["word q!z", "", "word 1", "wordy"])]
    _, rejected = check_rows(rows, tokenizer, "basic", frontend)
    assert summary(rejected).splitlines() == [
        "empty_text: 1 rejected, first 'row1' (no text is left after normalisation)",
        "unknown_token: 2 rejected, first 'row0' (the tokenizer cannot spell 'q' 'z')",
    ]
    assert summary([]) == ""
    assert {rejection.code for rejection in rejected} <= set(CODES)
