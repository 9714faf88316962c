"""Rows that cannot be trained on are set aside with a reason, and all others are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr.corpora.doctor import codes
from asr.data.requirements import CODES, NUM_EXAMPLES, ModelNeeds, Requirements, check_rows
from asr.lengths import ctc_min_frames
from asr.types import Utterance

GOOD = Utterance("good", Path("/nowhere.wav"), 2.0, "Word 1")


@pytest.fixture
def code_of(tokenizer, frontend) -> Callable[..., str | None]:
    """The code that a row beside a good one is rejected for."""

    def check(row, output_len=None, max_speed=1.0, **limits):
        def feature_len(num_samples):
            return int(frontend.output_lens(torch.tensor(num_samples)))

        min_frames = ((tokenizer, ctc_min_frames),) if output_len is not None else ()
        model = ModelNeeds(tokenizer, frontend.sample_rate, feature_len, output_len, min_frames, max_speed)
        needs = Requirements("basic", model=model, **limits)
        set_aside = check_rows([GOOD, row], needs)
        kept, rejected = set_aside.others([GOOD, row]), set_aside.examples
        assert kept[0] == GOOD
        assert [*kept[1:], *(rejection.utterance for rejection in rejected)] == [row]
        return rejected[0].code if rejected else None

    return check


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
def test_each_fault_has_its_code(change, code, code_of):
    assert code_of(replace(GOOD, id="row", **change), max_duration=8.0, min_duration=0.5) == code


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
def test_rows_ctc_cannot_align_are_found_also_at_the_fastest_speed(text, speed, code, code_of):
    row = replace(GOOD, id="row", text=text, duration=1.0)
    assert code_of(row, lambda frames: frames // 4, max_speed=speed) == code


def test_without_an_encoder_alignment_is_not_checked(code_of):
    assert code_of(replace(GOOD, id="row", text="word " * 500)) is None


def test_a_duration_beyond_all_bounds_is_only_too_long(code_of):
    assert code_of(replace(GOOD, id="row", duration=1.7e308), max_duration=8.0) == "too_long"


def test_without_a_model_only_text_and_limits_count():
    rows = [GOOD, replace(GOOD, text=" ?! "), replace(GOOD, duration=0.01), replace(GOOD, text="wörd")]
    set_aside = check_rows(rows, Requirements())
    assert [(row.utterance, row.code) for row in set_aside.examples] == [
        (rows[1], "empty_text"),
        (rows[2], "too_short"),
    ]
    assert set_aside.counts == {"empty_text": 1, "too_short": 1}
    assert list(set_aside.others(rows)) == [rows[0], rows[3]]


def test_the_doctor_knows_every_code():
    assert set(CODES) < set(codes.CODES)


def test_no_rows_are_no_fault():
    assert len(check_rows([], Requirements())) == 0
    assert check_rows([], Requirements()).others([]) == []


def test_of_many_faults_all_are_counted_and_few_are_told():
    set_aside = check_rows([replace(GOOD, text="")] * 1000, Requirements())
    assert (len(set_aside), set_aside.counts) == (1000, {"empty_text": 1000})
    assert len(set_aside.examples) == NUM_EXAMPLES
