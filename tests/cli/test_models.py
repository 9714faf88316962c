"""`asr models import` makes model folders that the other commands work on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.cli.main import main
from tests.bundle.foreign.ctc_files import write_ctc
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


def test_the_list_shows_every_name_with_its_licence_and_what_is_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from asr.bundle.foreign import import_model

    monkeypatch.setenv("ASR_HOME", str(tmp_path / "home"))
    write_model(tmp_path / "source", random_variables(), "float16")
    import_model(tmp_path / "source", tmp_path / "home" / "models" / "mine")
    status, out, err = run(capsys, "models", "list")
    assert (status, err) == (0, "")
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells]
        for line in out.splitlines()
        if len(cells := line.split("│")) > 3
    }
    assert rows["whisper-small"][2] == "-"  # which comes in no wheel
    assert rows["an4"][2] == rows["mine"][2] == "here"
    assert "MIT" in rows["whisper-large-v3"]
    assert all(row[7] for row in rows.values())


def test_a_model_of_the_store_has_a_path_and_can_be_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASR_HOME", str(tmp_path))
    write_model(tmp_path / "source", random_variables(), "float16")
    folder = tmp_path / "models" / "mine"
    assert run(capsys, "models", "import", str(tmp_path / "source"), "--out", str(folder))[0] == 0
    assert run(capsys, "models", "path", "mine") == (0, f"{folder}\n", "")
    status, out, _ = run(capsys, "info", "mine")
    assert status == 0
    assert f"source           {tmp_path / 'source'}" in out
    assert "licence          not stated" in out
    assert run(capsys, "models", "remove", "mine") == (0, f"removed {folder}\n", "")
    assert run(capsys, "models", "path", "mine")[0] == 1
    assert not folder.exists()


def test_a_model_that_is_not_here_is_not_fetched_to_print_its_path(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "models", "path", "whisper-base")
    assert (status, err) == (1, "error: whisper-base: is not here; `asr models pull whisper-base` fetches it\n")


def test_the_model_of_a_recipe_is_not_removed(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "models", "remove", "an4")
    assert status == 1
    assert "is part of the toolkit's repository" in err


def test_a_name_does_for_a_folder_and_the_default_is_a_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from asr.bundle.foreign import import_model

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASR_HOME", str(tmp_path))
    write_model(tmp_path / "source", random_variables(), "float16")
    import_model(tmp_path / "source", tmp_path / "models" / "whisper-base")
    soundfile.write("noise.wav", 0.1 * np.random.default_rng(0).standard_normal(24000), 16000)
    options = ("noise.wav", "--vad", "none", "--format", "json")
    status, out, err = run(capsys, "transcribe", *options)
    assert status == 0, err
    assert json.loads(out)["model"] == "whisper-base"
    assert run(capsys, "transcribe", *options, "--model", "whisper-base")[1] == out
    assert json.loads(run(capsys, "transcribe", *options, "--model", "an4")[1])["model"] == "an4"


def test_results_of_a_foreign_model_stand_in_a_card_that_names_its_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASR_HOME", str(tmp_path))
    write_model(Path("source"), random_variables(), "float16")
    assert run(capsys, "models", "import", "source", "--out", "models/mine")[0] == 0
    soundfile.write("noise.wav", 0.1 * np.random.default_rng(0).standard_normal(24000), 16000)
    Path("set.jsonl").write_text('{"id": "a", "audio": "noise.wav", "duration": 1.5, "text": "nothing"}\n')
    assert run(capsys, "evaluate", "mine", "set.jsonl")[0] == 0
    card = Path("models/mine/README.md").read_text()
    assert "from source" in card
    assert "| set | " in card
    assert "sha256" in card


def test_an_imported_ctc_model_transcribes_aligns_and_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_ctc(Path("hub"), "wav2vec2", "group")
    Path("hub/README.md").write_text("---\nlicense: apache-2.0\n---\n")
    status, out, err = run(capsys, "models", "import", "hub", "--out", "model")
    assert (status, err) == (0, "")
    assert "licence apache-2.0" in Path("model/README.md").read_text()
    assert "wav2vec2 (conv_dims (6, 8, 8)" in run(capsys, "info", "model")[1]
    soundfile.write("noise.wav", 0.1 * np.random.default_rng(0).standard_normal(24000), 16000)
    where = ("noise.wav", "--model", "model", "--vad", "none")
    status, out, err = run(capsys, "transcribe", *where, "--format", "json", "--hotword", "THEATRE:30")
    assert status == 0, err
    segment = json.loads(out)["segments"][0]
    assert any(word["text"] == "THEATRE" for word in segment["words"])
    assert all(0 <= word["start"] <= word["end"] <= 1.5 for word in segment["words"])
    Path("text.txt").write_text("the heat\n")
    status, out, err = run(capsys, "align", "--model", "model", "noise.wav", "text.txt", "--format", "ctm")
    assert [line.split()[4] for line in out.splitlines()] == ["the", "heat"], err
    Path("set.jsonl").write_text('{"id": "a", "audio": "noise.wav", "duration": 1.5, "text": "the heat"}\n')
    status, out, err = run(capsys, "evaluate", "model", "set.jsonl")
    assert status == 0, err
