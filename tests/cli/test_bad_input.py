"""Whatever is wrong with the input: one clear line, status 1, and nothing lost."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.cli.main import main

TRAIN = "asr train experiment.yaml --out exp --device cpu"
TRANSCRIBE = "asr transcribe audio/0.wav --model model --device cpu"


Fail = Callable[[str], str]


@pytest.fixture
def fail(workspace: Path, capsys: pytest.CaptureFixture[str]) -> Fail:
    """Runs a command line that must fail; returns its one error line."""
    assert workspace == Path.cwd()

    def run(line: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main(shlex.split(line)[1:])
        err = capsys.readouterr().err
        assert leaving.value.code == 1, err
        assert "Traceback" not in err
        (error,) = [row for row in err.splitlines() if row.startswith("error: ")]
        assert err.rstrip().endswith(error)
        assert "unexpected" not in error
        return error

    return run


def fingerprints(folder: Path) -> dict[str, str]:
    """Every file below a folder and a hash of what is in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def change_row(manifest: str, index: int, **values: object) -> None:
    rows = [json.loads(line) for line in Path(manifest).read_text(encoding="utf-8").splitlines()]
    rows[index] |= values
    Path(manifest).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


# Audio


def test_an_empty_file(fail: Fail) -> None:
    Path("empty.wav").touch()
    assert "empty.wav: the file is empty" in fail("asr transcribe empty.wav --model model")


def test_a_header_without_samples(fail: Fail) -> None:
    soundfile.write("silent.wav", np.zeros(0, dtype=np.float32), 16000)
    assert "silent.wav: the file holds no samples" in fail("asr transcribe silent.wav --model model")


def test_a_truncated_file(fail: Fail) -> None:
    whole = Path("audio/5.wav").read_bytes()
    Path("cut.wav").write_bytes(whole[: len(whole) // 2])
    assert "cut.wav: the file ends after" in fail("asr transcribe cut.wav --model model")


def test_samples_that_are_no_numbers(fail: Fail) -> None:
    soundfile.write("nan.wav", np.full(16000, np.nan, dtype=np.float32), 16000, subtype="FLOAT")
    assert "nan.wav: holds NaN" in fail("asr transcribe nan.wav --model model")


def test_a_text_file_called_wav(fail: Fail) -> None:
    Path("notes.wav").write_text("buy milk", encoding="utf-8")
    assert "notes.wav: cannot be read as audio" in fail("asr transcribe notes.wav --model model")


def test_a_bad_file_among_good_ones_is_told_at_the_end_and_the_others_are_done(fail: Fail) -> None:
    Path("audio/2.wav").write_bytes(b"")
    assert "2.wav: the file is empty" in fail("asr transcribe audio --model model --output-dir texts")
    assert sorted(path.name for path in Path("texts").iterdir()) == ["0.txt", "1.txt", "3.txt", "4.txt", "5.txt"]


def test_bad_audio_in_a_manifest_names_the_utterance(fail: Fail) -> None:
    Path("audio/5.wav").write_bytes(b"")
    assert "utterance 'u5'" in fail("asr evaluate model dev.jsonl")
    assert not Path("model/results/dev").exists()


# Paths


@pytest.mark.parametrize(
    ("line", "culprit"),
    [
        ("asr transcribe missing.wav --model model", "missing.wav: there is no such file"),
        ("asr transcribe 'missing/*.wav' --model model", "missing/*.wav: no file matches"),
        ("asr transcribe audio --model missing", "missing: no such model folder"),
        ("asr evaluate model missing.jsonl", "missing.jsonl: there is no such file"),
        ("asr evaluate missing dev.jsonl", "missing: no such model folder"),
        ("asr train missing.yaml --out exp", "missing.yaml: there is no such file"),
        ("asr average missing --last 1 --out mean", "missing: no such model folder"),
        ("asr info missing", "missing: no such model folder"),
        ("asr score missing.txt hyp.txt", "missing.txt"),
        ("asr data import missing --out new.jsonl", "missing: there is no such file or folder"),
        ("asr data export missing.jsonl --format nemo --out new.jsonl", "missing.jsonl: there is no such file"),
        ("asr data shard missing.jsonl --out shards", "missing.jsonl: there is no such file"),
    ],
)
def test_a_wrong_path(fail: Fail, line: str, culprit: str) -> None:
    assert culprit in fail(line)


def test_a_configuration_used_from_another_folder_says_where_its_paths_start(
    fail: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    error = fail("asr train ../experiment.yaml --out exp --device cpu")
    assert "train.jsonl: cannot read the manifest" in error
    assert f"relative paths start at the working directory, {Path.cwd()}" in error


def test_a_directory_without_audio(fail: Fail) -> None:
    Path("nothing").mkdir()
    assert "nothing: no audio in this folder" in fail("asr transcribe nothing --model model")


def test_training_into_a_folder_that_is_not_empty_leaves_it_alone(fail: Fail) -> None:
    before = fingerprints(Path("model"))
    assert "--resume" in fail("asr train experiment.yaml --out model")
    assert fingerprints(Path("model")) == before


# Manifests


def test_training_texts_that_are_all_empty(fail: Fail) -> None:
    for index in range(4):
        change_row("train.jsonl", index, text="")
    assert "all texts are empty" in fail(TRAIN)
    assert not Path("exp").exists()


def test_pieces_that_belong_to_nobody(fail: Fail) -> None:
    assert "train.jsonl: no piece has a speaker" in fail(f"{TRAIN} --set splice.pieces=train.jsonl")


def test_one_empty_text_is_named_and_set_aside(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_row("train.jsonl", 1, text=" ")
    with pytest.raises(SystemExit) as leaving:
        main(shlex.split(TRAIN)[1:])
    assert leaving.value.code == 0
    assert "set aside u1" in capsys.readouterr().err
    assert (workspace / "exp" / "model.safetensors").exists()


def test_a_reference_with_characters_the_model_cannot_write_is_scored(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_row("dev.jsonl", 0, text="ζero")
    with pytest.raises(SystemExit) as leaving:
        main(["evaluate", "model", "dev.jsonl"])
    assert leaving.value.code == 0, capsys.readouterr().err
    assert json.loads((workspace / "model/results/dev/wer.json").read_text())["reference_words"] == 4


def test_a_duplicate_id_names_both_lines(fail: Fail) -> None:
    change_row("train.jsonl", 3, id="u0")
    error = fail(TRAIN)
    assert "train.jsonl:4: id 'u0'" in error
    assert "line 1" in error


def test_an_unknown_key_of_a_manifest(fail: Fail) -> None:
    change_row("dev.jsonl", 0, txt="zero")
    assert "dev.jsonl:1: unknown key 'txt'; did you mean 'text'?" in fail("asr evaluate model dev.jsonl")


# Configurations


def test_an_unknown_key_names_the_nearest_right_one(fail: Fail) -> None:
    assert "did you mean 'accumulation'?" in fail(f"{TRAIN} --set training.acumulation=2")
    assert not Path("exp").exists()


def test_a_configuration_from_a_newer_version(fail: Fail) -> None:
    assert "newer" in fail(f"{TRAIN} --set format_version=99")


def test_a_setting_of_a_trained_model_that_cannot_change(fail: Fail) -> None:
    assert "search.* and segmentation.* settings" in fail(f"{TRANSCRIBE} --set encoder.dim=32")
    assert "search.* and segmentation.* settings can be changed" in fail(f"{TRANSCRIBE} --set beam=5")
    assert "`asr config search` lists them" in fail("asr evaluate model dev.jsonl --set beam=5")


def test_an_unknown_search_and_device_and_dtype(fail: Fail) -> None:
    assert "did you mean 'ctc_greedy'?" in fail(f"{TRANSCRIBE} --search ctc_gredy")
    assert "nowhere" in fail(f"{TRANSCRIBE} --device nowhere")
    assert "float32" in fail(f"{TRANSCRIBE} --dtype float8")


# Model folders


def test_a_pickle_offered_as_weights_is_not_loaded(fail: Fail) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, ("trapped",)

    Path("model/model.safetensors").write_bytes(pickle.dumps(Trap()))
    assert "model.safetensors: damaged or not safetensors" in fail(TRANSCRIBE)
    assert not Path("trapped").exists()


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors", "tokenizer.model"])
def test_a_missing_or_damaged_part_of_a_model_is_named(fail: Fail, name: str) -> None:
    path = Path("model") / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "model" in fail(TRANSCRIBE)
    path.unlink()
    assert f"{path}: missing" in fail(TRANSCRIBE)


# A full disk


class Disk:
    """Stands in for `os.fsync`: the disk is full from a given write on, until it is emptied."""

    def __init__(self, writes: int) -> None:
        self.writes_left = writes

    def fsync(self, _descriptor: int) -> None:
        self.writes_left -= 1
        if self.writes_left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "line",
    [
        f"{TRANSCRIBE} --output-dir texts",
        "asr evaluate model dev.jsonl",
        "asr average model --last 2 --out mean",
        TRAIN,
    ],
)
def test_a_full_disk_loses_nothing(fail: Fail, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr(os, "fsync", Disk(writes=0).fsync)
    before = fingerprints(Path())
    assert "No space left on device" in fail(line)
    after = fingerprints(Path())
    assert {name: after.get(name) for name in before} == before
    assert not [name for name in after if name.endswith(".tmp")]


def test_an_old_transcript_survives_a_full_disk(fail: Fail, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("texts").mkdir()
    Path("texts/0.txt").write_text("precious", encoding="utf-8")
    monkeypatch.setattr(os, "fsync", Disk(writes=0).fsync)
    fail(f"{TRANSCRIBE} --output-dir texts --overwrite")
    assert Path("texts/0.txt").read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize("writes", [4, 8, 12])
def test_training_stopped_by_a_full_disk_goes_on_where_it_was(
    fail: Fail, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    disk = Disk(writes)
    monkeypatch.setattr(os, "fsync", disk.fsync)
    assert "No space left on device" in fail(TRAIN)
    disk.writes_left = 1000
    with pytest.raises(SystemExit) as leaving:
        main(shlex.split(f"{TRAIN} --resume")[1:])
    assert leaving.value.code == 0
    assert fingerprints(Path("exp"))["model.safetensors"] == fingerprints(Path("model"))["model.safetensors"]
