"""Training from shards keeps every promise of training from a manifest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asr.cli.main import main
from asr.config import load_experiment
from asr.data.manifest import read_manifest
from asr.data.shards.index import ShardedUtterance
from asr.data.shards.writer import ShardLimits, write_shards
from asr.errors import ConfigError
from asr.experiments import launch, prepare
from asr.experiments.survey import read_training_rows
from asr.training.trainer import Trainer
from tests.training.processes import wait_until_written

SETTINGS = (
    "training.epochs=2",
    "training.checkpoint_every=1",
    "training.log_every=1",
    "optimizer.lr=0.001",
    "data.max_batch_seconds=2.6",
    "augment={gain_db: [-6, 6]}",
    "encoder.dropout=0.1",
    "frontend.cmvn=global",
)


class Killed(BaseException):
    """Stands for a process that ends without a chance to do anything."""


@pytest.fixture
def shards(workspace: Path) -> Path:
    """Four utterances in four shards, in the order of the manifest."""
    write_shards(
        read_manifest(workspace / "train.jsonl"), workspace / "shards", ShardLimits(utterances=1), shuffle=False
    )
    return Path("shards/shards.jsonl")


def train(
    out: str, source: object, *settings: str, resume: bool = False, kill_at: int | None = None
) -> list[dict[str, Any]]:
    """The log of a run, without what depends on the clock; it may be killed right after a step."""

    def die(trainer: Trainer) -> None:
        if trainer.progress.step == kill_at:
            raise Killed

    overrides = (*SETTINGS, f"data.train={source}", *settings)
    launch.train(Path("experiment.yaml"), Path(out), overrides=overrides, resume=resume, device="cpu", on_step=die)
    lines = Path(out, "training", "train.jsonl").read_text(encoding="utf-8").splitlines()
    clocks = ("seconds", "audio_seconds_per_second", "waited_share")
    return [{key: value for key, value in json.loads(line).items() if key not in clocks} for line in lines]


def weights(out: str) -> bytes:
    return Path(out, "model.safetensors").read_bytes()


def test_with_all_shards_in_the_buffer_the_run_is_that_of_the_manifest(shards: Path) -> None:
    expected = train("manifest", "train.jsonl")
    assert train("sharded", shards, "data.shuffle_shards=4") == expected
    assert weights("sharded") == weights("manifest")
    losses = [row["loss"] for row in train("windows", shards, "data.shuffle_shards=1") if row["kind"] == "step"]
    assert len(losses) == 8, "each utterance comes once an epoch, in a batch of its own window"


def test_a_curriculum_orders_the_first_epoch_of_a_manifest_and_is_refused_for_shards(shards: Path) -> None:
    config = load_experiment(
        Path("experiment.yaml"), ["data.max_batch_seconds=2", "data.curriculum_epochs=1", "seed=3"]
    )
    loader = prepare.prepare(config, lambda _: None).train_loader
    longest = [[int(batch.feature_lens.max()) for batch in loader.epoch(epoch)] for epoch in (0, 1)]
    assert longest[0] == sorted(longest[0])
    assert longest[1] != sorted(longest[1])
    with pytest.raises(ConfigError, match=r"data\.curriculum_epochs needs a manifest"):
        train("out", shards, "data.curriculum_epochs=1")


def test_over_http_and_with_workers_nothing_changes(shards: Path, folder_server: Any) -> None:
    expected = train("local", shards, "data.shuffle_shards=1")
    address = f"{folder_server.address}/workspace/{shards}"
    folder_server.failures = 1
    assert train("http", address, "data.shuffle_shards=1", "data.num_workers=2") == expected
    assert weights("http") == weights("local")
    assert train("cached", address, "data.shuffle_shards=1", "data.shard_cache=cache") == expected
    assert len(list(Path("cache").glob("*.tar"))) == 4


@pytest.mark.parametrize("step", [1, 6])
def test_a_killed_run_resumes_in_the_middle_of_an_epoch(step: int, shards: Path) -> None:
    source = (shards, "data.shuffle_shards=2")
    expected = train("whole", *source)
    with pytest.raises(Killed):
        train("cut", *source, kill_at=step)
    assert train("cut", *source, resume=True) == expected
    assert weights("cut") == weights("whole")


def test_statistics_are_made_of_few_shards(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "MAX_STATISTICS_UTTERANCES", 2)
    config = load_experiment(Path("experiment.yaml"), (*SETTINGS, f"data.train={shards}"))
    rows = read_training_rows(config.data)
    assert all(isinstance(row, ShardedUtterance) for row in rows)
    opened: list[int] = []
    read = type(rows[0].shard).read
    monkeypatch.setattr(
        type(rows[0].shard), "read", lambda self, *where: opened.append(self.number) or read(self, *where)
    )
    prepare.prepare(config, print)
    assert len(opened) == 2


def test_a_server_without_the_index_is_told_in_one_line(
    shards: Path, folder_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["train", "experiment.yaml", "--out", "exp", "--set", f"data.train={folder_server.address}/no.jsonl"])
    assert leaving.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {folder_server.address}/no.jsonl: the server answers 404 File not found; check the address"


@pytest.mark.slow
def test_kill_dash_nine_at_any_moment_changes_nothing(shards: Path, folder_server: Any) -> None:
    address = f"{folder_server.address}/workspace/{shards}"
    settings = ("training.epochs=20", "data.shuffle_shards=2", "data.num_workers=1")
    expected = train("whole", address, *settings)
    command = [sys.executable, "-m", "asr.cli.main", "train", "experiment.yaml", "--out", "cut", "--resume"]
    command += ["--device", "cpu", "--threads", "1"]
    for setting in (*SETTINGS, f"data.train={address}", *settings):
        command += ["--set", setting]
    kills = 0
    for more_bytes in (1, 300, 900, 2000, 5000):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_until_written(Path("cut/training/train.jsonl"), more_bytes, process)
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills, "no run lived long enough to be killed"
    assert train("cut", address, *settings, resume=True) == expected
    assert weights("cut") == weights("whole")
