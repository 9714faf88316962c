"""One bad row, or one bad file of noise, is named and does not stop a run that could do without it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from asr.audio.io import write_wav
from asr.config import load_experiment
from asr.data.manifest import read_manifest, write_manifest
from asr.errors import AudioError, ManifestError, TrainingError
from asr.experiments import launch
from asr.experiments.prepare import prepare
from asr.training.trainer import Trainer

GLOBAL = "frontend.cmvn=global"


def prepared(said: list[str], *settings: str) -> object:
    return prepare(load_experiment(Path("experiment.yaml"), settings), said.append)


def mean(of: object) -> list[float]:
    return of.bundle.frontend.state_dict()["cmvn.mean"].tolist()


@pytest.fixture
def short(workspace: Path) -> Path:
    """A recording of 10 ms, the first row of both manifests."""
    path = workspace / "audio" / "short.wav"
    write_wav(path, np.zeros(160, np.float32), 16000)
    for manifest in ("train.jsonl", "dev.jsonl"):
        rows = read_manifest(Path(manifest))
        write_manifest(workspace / manifest, [replace(rows[0], id="short", audio=path, duration=0.01), *rows])
    return path


def test_a_row_too_short_for_a_feature_is_set_aside_and_changes_no_statistics(workspace: Path, short: Path) -> None:
    said: list[str] = []
    found = prepared(said, GLOBAL)
    assert found.rejected.counts == {"too_short": 1}
    assert any(line.startswith("set aside short: 0.010 s") for line in said)
    write_manifest(Path("train.jsonl"), read_manifest(Path("train.jsonl"))[1:])
    assert mean(found) == mean(prepared([], GLOBAL))


def test_a_run_with_a_row_too_short_goes_to_its_end(workspace: Path, short: Path) -> None:
    launch.train(Path("experiment.yaml"), Path("out"), overrides=[GLOBAL, "training.epochs=1"], device="cpu")
    assert Path("out/model.safetensors").exists()


def test_audio_that_cannot_be_read_is_left_out_of_the_statistics_with_a_warning(workspace: Path) -> None:
    Path("audio/1.wav").write_bytes(b"no audio at all")
    said: list[str] = []
    found = prepared(said, GLOBAL)
    (warning,) = [line for line in said if line.startswith("warning")]
    assert "utterance 'u1'" in warning
    rows = read_manifest(Path("train.jsonl"))
    write_manifest(Path("train.jsonl"), [row for row in rows if row.id != "u1"])
    assert mean(found) == mean(prepared([], GLOBAL))


def test_a_corpus_none_of_whose_audio_can_be_read_is_refused(workspace: Path) -> None:
    for number in range(4):
        Path(f"audio/{number}.wav").unlink()
    with pytest.raises(TrainingError, match=r"train\.jsonl: no audio can be used; first reason: utterance 'u0'"):
        prepared([], GLOBAL)


@pytest.mark.parametrize("damage", [lambda data: b"no audio", lambda data: data[:-400]])
def test_noise_that_cannot_be_read_is_named_before_the_run_begins(damage: object, workspace: Path) -> None:
    folder = workspace / "noise"
    for name in ("hum.wav", "rain.wav"):
        write_wav(folder / name, np.random.default_rng(1).normal(0, 0.1, 8000).astype(np.float32), 16000)
    setting = "augment={noise: {files: [noise]}}"
    prepared([], setting)
    (folder / "rain.wav").write_bytes(damage((folder / "rain.wav").read_bytes()))
    with pytest.raises(AudioError, match=r"noise\.files: noise/rain\.wav.*repair or remove"):
        prepared([], setting)


@pytest.mark.parametrize("sample", [np.nan, np.inf, 3e38])
def test_impossible_samples_anywhere_in_noise_are_named_before_the_run_begins(sample: float, workspace: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 16000).astype(np.float32)
    noise[100] = sample
    sf.write("rain.wav", noise, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"noise\.files: rain\.wav.*sample 100 .*repair or remove"):
        prepared([], "augment={noise: {files: [rain.wav]}}")


def test_a_model_in_capitals_warns_of_small_letters_and_says_what_to_do_and_its_start_is_measured(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = Path("train.jsonl").read_text(encoding="utf-8")
    rows = read_manifest(Path("train.jsonl"))
    write_manifest(Path("train.jsonl"), [replace(row, text=row.text.upper()) for row in rows])
    launch.train(Path("experiment.yaml"), Path("capitals"), overrides=["training.epochs=1"], device="cpu")
    Path("train.jsonl").write_text(small, encoding="utf-8")
    capsys.readouterr()
    settings = ["training.epochs=1", "init_from=capitals"]
    launch.train(Path("experiment.yaml"), Path("warned"), overrides=settings, device="cpu")
    said = capsys.readouterr().err
    assert "warning: capitals knows 14 tokens (e i n o t ...) in the other case only" in said
    assert "set normalize: upper" in said
    assert "before the first step: dev WER" in said
    first = json.loads(Path("warned/training/train.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first["kind"] == "start"
    assert first["wer"] > 0
    launch.train(Path("experiment.yaml"), Path("heeded"), overrides=[*settings, "normalize=upper"], device="cpu")
    assert "in the other case" not in capsys.readouterr().err


def test_a_share_of_the_training_rows_is_held_out_and_resumes_bit_for_bit(workspace: Path) -> None:
    settings = ("data.dev=25%", "training.epochs=2", "training.checkpoint_every=1")
    found = prepared([], *settings)
    assert len(found.dev) == 1
    assert {row.id for row in found.train} == {f"u{number}" for number in range(4)} - {found.dev[0].id}

    def stop(trainer: Trainer) -> None:
        if trainer.progress.step == 1:
            raise KeyboardInterrupt

    launch.train(Path("experiment.yaml"), Path("whole"), overrides=settings, device="cpu")
    with pytest.raises(KeyboardInterrupt):
        launch.train(Path("experiment.yaml"), Path("parts"), overrides=settings, device="cpu", on_step=stop)
    launch.train(Path("experiment.yaml"), Path("parts"), overrides=settings, device="cpu", resume=True)
    weights = [Path(folder, "model.safetensors").read_bytes() for folder in ("whole", "parts")]
    assert weights[0] == weights[1]


def general(name: str, rows: int) -> Path:
    """A manifest of recordings of the corpus under other ids."""
    found = read_manifest(Path("train.jsonl"))
    write_manifest(Path(name), [replace(found[row % len(found)], id=f"general{row}") for row in range(rows)])
    return Path(name)


def test_general_speech_is_mixed_in_up_to_its_share(workspace: Path) -> None:
    general("general.jsonl", 40)
    found = prepared([], "data.replay={manifest: general.jsonl, share: 0.5}")
    own = [row for row in found.train if not row.id.startswith("general")]
    seconds = sum(row.duration for row in own)
    assert len(own) == 4
    assert seconds <= sum(row.duration for row in found.train) - seconds < seconds + 2.0
    again = prepared([], "data.replay={manifest: general.jsonl, share: 0.5}")
    assert [row.id for row in again.train] == [row.id for row in found.train]
    with pytest.raises(ManifestError, match=r"train\.jsonl: id 'u\d' is among the other training rows"):
        prepared([], "data.replay={manifest: train.jsonl, share: 0.5}")


def test_the_error_rate_of_a_canary_set_is_shown_and_resumes(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    general("canary.jsonl", 2)
    settings = (
        "data.canary=canary.jsonl",
        "data.replay={manifest: canary.jsonl, share: 0.3}",
        "init_from=model",
        "optimizer.lr=0.01",
        "training.checkpoint_every=1",
    )

    def stop(trainer: Trainer) -> None:
        if trainer.progress.step == 1:
            raise KeyboardInterrupt

    launch.train(Path("experiment.yaml"), Path("whole"), overrides=settings, device="cpu")
    said = capsys.readouterr().err
    assert all(
        re.search(r"dev WER +[\d.]+ %  canary WER +[\d.]+ %", line)
        for line in said.splitlines()
        if line.startswith(("before the first step", "epoch ", "averaged"))
    )
    records = [json.loads(line) for line in Path("whole/training/train.jsonl").read_text().splitlines()]
    assert {record["kind"] for record in records if "canary_wer" in record} == {"start", "epoch", "average"}
    with pytest.raises(KeyboardInterrupt):
        launch.train(Path("experiment.yaml"), Path("parts"), overrides=settings, device="cpu", on_step=stop)
    launch.train(Path("experiment.yaml"), Path("parts"), overrides=settings, device="cpu", resume=True)
    assert Path("whole/model.safetensors").read_bytes() == Path("parts/model.safetensors").read_bytes()
