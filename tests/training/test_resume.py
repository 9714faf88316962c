"""A run that is killed and resumed must end like one that never stopped, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from asr.bundle.tensors import load_tensors, save_tensors
from asr.experiments import launch
from asr.training.checkpoint import CheckpointFolder, Progress
from asr.training.trainer import InterruptedRunError, Trainer
from asr.upgrade import PARTS
from tests.training.processes import wait_until_written

SETTINGS = (
    "training.epochs=3",
    "training.checkpoint_every=2",
    "training.log_every=1",
    "training.ema_decay=0.9",
    "training.accumulation=2",
    "training.average_num=2",
    "optimizer.lr=0.001",
    "data.max_batch_seconds=1.5",  # each of the four utterances is a batch of its own
    "augment={gain_db: [-6, 6]}",
    "encoder.dropout=0.1",
)


class Killed(BaseException):
    """Stands for a process that ends without a chance to do anything."""


def nothing(_trainer: Trainer) -> None:
    pass


def train(
    out: str,
    *,
    resume: bool = False,
    settings: tuple[str, ...] = SETTINGS,
    on_step: Callable[[Trainer], None] = nothing,
) -> None:
    launch.train(Path("experiment.yaml"), Path(out), overrides=settings, resume=resume, device="cpu", on_step=on_step)


def records(out: str) -> list[dict[str, Any]]:
    """The log without what depends on the clock."""
    lines = Path(out, "training", "train.jsonl").read_text(encoding="utf-8").splitlines()
    clocks = ("seconds", "audio_seconds_per_second", "waited_share")
    return [{key: value for key, value in json.loads(line).items() if key not in clocks} for line in lines]


@pytest.fixture(scope="module")
def finished(tiny_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("finished") / "workspace"
    shutil.copytree(tiny_workspace, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train("whole")
    return folder / "whole"


@pytest.fixture
def whole(finished: Path, workspace: Path) -> Path:
    """The same among the data of this test's own."""
    shutil.copytree(finished, workspace / "whole")
    return workspace / "whole"


@pytest.mark.parametrize("step", [1, 3, 4, 5])
def test_a_killed_run_resumes_to_the_same_weights_and_log(step: int, whole: Path, workspace: Path) -> None:
    def die(trainer: Trainer) -> None:
        if trainer.progress.step == step:
            raise Killed

    with pytest.raises(Killed):
        train("cut", on_step=die)
    train("cut", resume=True)
    for name in ("model.safetensors", "tokenizer.model", "training_texts.bin"):
        assert (workspace / "whole" / name).read_bytes() == (workspace / "cut" / name).read_bytes()
    assert records("cut") == records("whole")


def test_a_run_killed_between_the_last_step_and_the_end_of_its_epoch_logs_the_same(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = CheckpointFolder.save

    def save_and_die(self: CheckpointFolder, progress: Progress, tensors: dict[str, Tensor]) -> None:
        save(self, progress, tensors)
        if (progress.epoch, progress.step) == (0, 2):  # an epoch has two steps
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointFolder, "save", save_and_die)
        with pytest.raises(Killed):
            train("cut")
    train("cut", resume=True)
    assert records("cut") == records("whole")


def test_ctrl_c_saves_the_state_and_says_how_to_go_on(whole: Path) -> None:
    def interrupt(trainer: Trainer) -> None:
        if trainer.progress.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptedRunError, match="--resume"):
        train("cut", on_step=interrupt)
    assert CheckpointFolder(Path("cut/training")).load_newest()[0].step == 3
    train("cut", resume=True)
    assert Path("cut/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()


def former_names(path: Path) -> None:
    """Give the weights in a file the names that version 1 of the format had."""
    renamed = {}
    for name, tensor in load_tensors(path).items():
        for former, today in PARTS.items():
            name = name.replace(today.format(decoder="transformer"), former)
        renamed[name] = tensor
    assert renamed.keys() != load_tensors(path).keys()
    save_tensors(path, renamed)


def test_a_run_that_version_1_began_is_resumed_to_the_same_weights(whole: Path) -> None:
    def die(trainer: Trainer) -> None:
        if trainer.progress.step == 5:
            raise Killed

    with pytest.raises(Killed):
        train("cut", on_step=die)
    former_names(Path("cut/model.safetensors"))
    for pattern in ("checkpoints/*/state.safetensors", "epochs/*.safetensors"):
        for path in Path("cut/training").glob(pattern):
            former_names(path)
    train("cut", resume=True)
    assert Path("cut/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()


def test_resuming_with_another_configuration_is_refused(whole: Path) -> None:
    with pytest.raises(ValueError, match=r"configuration in training\.epochs \(3 there, 5 given\); resume with"):
        train("whole", resume=True, settings=(*SETTINGS, "training.epochs=5"))


def test_a_folder_that_is_not_empty_is_refused_without_resume(workspace: Path) -> None:
    Path("taken").mkdir()
    Path("taken/thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match="not empty"):
        train("taken")
    assert Path("taken/thesis.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.slow
def test_kill_dash_nine_at_any_moment_changes_nothing(workspace: Path) -> None:
    settings = (*SETTINGS[1:], "training.epochs=12")
    train("whole", settings=settings)
    command = [sys.executable, "-m", "asr.cli.main", "train", "experiment.yaml", "--out", "cut", "--resume"]
    command += ["--device", "cpu", "--threads", "1", *(part for setting in settings for part in ("--set", setting))]
    kills = 0
    for more_bytes in (1, 300, 900, 2000, 5000):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_until_written(Path("cut/training/train.jsonl"), more_bytes, process)
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills, "no run lived long enough to be killed"
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert Path("cut/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()
    assert records("cut") == records("whole")
