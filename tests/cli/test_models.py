"""`asr models import` makes model folders that the other commands work on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.cli.main import main
from tests.bundle.foreign.whisper_files import random_variables, write_model


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        main(words)
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    else:
        status = 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_an_imported_model_is_described_transcribes_and_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(Path("source"), random_variables(), "float16")
    status, out, err = run(capsys, "models", "import", "source", "--out", "model")
    assert (status, err) == (0, "")
    assert out.startswith("imported 0.0 M parameters into model")
    assert "whisper (dim 16" in run(capsys, "info", "model")[1]
    soundfile.write("noise.wav", 0.1 * np.random.default_rng(0).standard_normal(24000), 16000)
    status, out, err = run(capsys, "transcribe", "noise.wav", "--model", "model", "--vad", "none", "--format", "json")
    assert status == 0, err
    assert json.loads(out)["duration"] == pytest.approx(1.5)
    Path("set.jsonl").write_text('{"id": "a", "audio": "noise.wav", "duration": 1.5, "text": "nothing"}\n')
    status, out, err = run(capsys, "evaluate", "model", "set.jsonl")
    assert status == 0, err
    assert json.loads(Path("model/results/set/wer.json").read_text())["reference_words"] == 1


def test_what_is_no_model_is_an_error_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, "models", "import", "nowhere", "--out", "model")
    assert status == 1
    assert err == "error: nowhere: no such folder; give the one that holds the model's files\n"
    assert not Path("model").exists()


def test_a_folder_that_holds_anything_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(Path("source"), random_variables(), "float16")
    before = {path: path.read_bytes() for path in Path("source").iterdir()}
    status, _, err = run(capsys, "models", "import", "source", "--out", "source")
    assert status == 1
    assert "the folder is not empty; choose another --out" in err
    assert {path: path.read_bytes() for path in Path("source").iterdir()} == before
