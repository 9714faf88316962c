"""What is settled before the first step."""

from __future__ import annotations

import pytest
import torch

from asr.config import Experiment, parse_experiment
from asr.experiments import launch


def experiment(dtype: str) -> Experiment:
    data = {"train": "train.jsonl", "dev": "dev.jsonl"}
    return parse_experiment({"data": data, "training": {"dtype": dtype}}, source="test")


@pytest.mark.parametrize(("in_hardware", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_auto_takes_bfloat16_where_hardware_has_it(
    in_hardware: bool, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "computes_bfloat16", lambda _device: in_hardware)
    settled = launch.settle_dtype(experiment("auto"), torch.device("cpu"), None, pytest.fail)
    assert settled.training.dtype == dtype


def test_auto_goes_on_with_what_the_run_was_started_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "computes_bfloat16", lambda _device: False)
    settled = launch.settle_dtype(experiment("auto"), torch.device("cpu"), experiment("bfloat16"), pytest.fail)
    assert settled.training.dtype == "bfloat16"


def test_bfloat16_on_a_processor_that_emulates_it_is_taken_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(launch, "computes_bfloat16", lambda _device: False)
    settled = launch.settle_dtype(experiment("bfloat16"), torch.device("cpu"), None, said.append)
    assert settled.training.dtype == "bfloat16"
    assert "very slowly" in said[0]
