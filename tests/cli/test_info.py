"""`asr info` reads any whole model folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from asr.cli.main import main


def info(capsys: pytest.CaptureFixture[str], folder: str = "model") -> dict[str, str]:
    with pytest.raises(SystemExit) as leaving:
        main(["info", folder])
    captured = capsys.readouterr()
    assert leaving.value.code == 0, captured.err
    return {line[:16].strip(): line[17:] for line in captured.out.splitlines()}


def test_it_tells_data_sizes_training_state_and_results(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "model", "dev.jsonl"])
    capsys.readouterr()
    facts = info(capsys)
    assert facts["encoder"].startswith("transformer (")
    assert "19 tokens (char)" in facts["vocabulary"]
    assert facts["data"] == "train train.jsonl, dev dev.jsonl"
    assert facts["command"] == "asr train experiment.yaml --out model --device cpu"
    assert facts["training"].startswith("epoch 2 of 2, step 2")
    assert "4 words, 2 utterances" in facts["WER dev"]
    weights = workspace / "model/model.safetensors"
    assert int(facts["parameters"].split()[0].replace(",", "")) * 4 < weights.stat().st_size


def test_a_model_without_its_training_part_and_texts_is_read_after_a_move(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(workspace / "model/training")
    (workspace / "model/training_texts.bin").unlink()
    shutil.move("model", "elsewhere")
    facts = info(capsys, "elsewhere")
    assert facts["training"].startswith("no training state")
    assert facts["seen"] == "not on record"
