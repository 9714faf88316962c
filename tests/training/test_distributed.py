"""Real processes that train together, as `torchrun` starts them, against one that trains alone.

`torchrun` itself starts those of one test; others are forks that are told the same.
"""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asr.experiments import launch
from asr.training.checkpoint import CheckpointFolder
from asr.training.distributed import joined
from tests.warm import run_ranks

SETTINGS = (
    "training={epochs: 3, log_every: 1, checkpoint_every: 2, ema_decay: 0.9, accumulation: 2, average_num: 2}",
    "optimizer.lr=0.001",
    "data.max_batch_seconds=2.5",  # four utterances in three batches or four: fewer rows than ranks
    "augment={gain_db: [-6, 6], speed_range: [0.9, 1.1]}",
    "encoder.dropout=0.1",
)

# Trains two tasks in float64 without dropout, and writes all gradients and the weights that each rank ends with.
GRADIENTS = """
import sys
from dataclasses import replace
from pathlib import Path

import torch

from asr.bundle.tensors import save_tensors
from asr.config import load_experiment, load_lm_experiment
from asr.experiments.asr_task import AsrTask
from asr.training.checkpoint import CheckpointFolder
from asr.training.distributed import joined
from tests.warm import run_ranks
from asr.experiments.prepare import prepare
from asr.experiments.launch import build_trainer
from asr.experiments.lm_task import LANGUAGE_MODEL

SETTINGS = ["encoder.dropout=0", "heads.transformer.dropout=0", "data.max_batch_seconds=2.5",
            "augment={gain_db: [-6, 6]}", "training={epochs: 2, accumulation: 2}", "optimizer.lr=0.001"]
LM_SETTINGS = ["training.epochs=2", "language_model.dropout=0"]


class Double(AsrTask):
    def loss(self, batch, draws):
        return super().loss(replace(batch, features=batch.features.double()), draws)

    def validate(self):
        self.model.float()
        try:
            return super().validate()
        finally:
            self.model.double()


def train(task, config, out, world):
    task.model.double()
    if not world.is_main:  # what other ranks begin with must not matter
        for parameter in task.model.parameters():
            torch.nn.init.normal_(parameter)
    trainer = build_trainer(task, config, CheckpointFolder(out / "training"), world.display(), world)
    kept = {}

    def keep(*_):
        for name, parameter in task.model.named_parameters():
            kept[f"{len(kept)}.{name}"] = parameter.grad.clone()

    trainer.optimizer.register_step_pre_hook(keep)
    progress = trainer.run()
    if world.is_main:
        save_tensors(out / "gradients", kept)
        measures = [value for row in progress.validations for value in row.values()]
        save_tensors(out / "measures", {"all": torch.tensor([*measures, progress.amount, progress.epoch_count])})
    save_tensors(out / f"weights.{world.rank}", task.model.state_dict())


with joined("cpu") as world:
    out = Path(sys.argv[1])
    config = load_experiment(Path("experiment.yaml"), SETTINGS)
    prepared = prepare(config, lambda _: None, None, world)
    train(Double(prepared, out / "asr", world.device, world), config, out / "asr", world)
    config = load_lm_experiment(Path("lm.yaml"), LM_SETTINGS)
    ready = LANGUAGE_MODEL.begin(config, out / "lm", world, lambda _: None)
    train(ready.task, config, out / "lm", world)
"""

# `asr train`, but something happens to rank 1 after its third step.
ACCIDENT = """
import os, signal, sys
from functools import partial

from asr.cli.main import main
from asr.experiments import launch


def happen(trainer):
    if trainer.world.rank == 1 and trainer.progress.step == 3:
        {accident}


launch.train = partial(launch.train, on_step=happen)
main(sys.argv[1:])
"""


def torchrun(ranks: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800)


def train_arguments(out: str, *more: str) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return ["train", "experiment.yaml", "--out", out, "--device", "cpu", "--threads", "1", *settings, *more]


def with_accident(accident: str) -> str:
    """The name of a program in which it happens."""
    Path("accident.py").write_text(ACCIDENT.replace("{accident}", accident), encoding="utf-8")
    return "accident.py"


def log(out: str) -> list[dict[str, object]]:
    lines = Path(out, "training", "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def errors(*results: subprocess.CompletedProcess[str]) -> list[str]:
    """What we say; torchrun reports in its own words besides."""
    return [line for one in results for line in re.findall(r"^(?:error: |stopped by ).*", one.stderr, re.MULTILINE)]


@pytest.mark.parametrize("ranks", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_ranks_have_the_gradients_weights_and_scores_of_one_process(
    ranks: int, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("gradients.py").write_text(GRADIENTS, encoding="utf-8")
    for result in run_ranks(ranks, "gradients.py", "many"):
        assert result.returncode == 0, result.stderr
    monkeypatch.setattr(sys, "argv", ["gradients.py", "one"])
    runpy.run_path("gradients.py", run_name="__main__")
    for task in ("asr", "lm"):
        for name in ("gradients", "measures", "weights.0"):
            one, many = load_file(f"one/{task}/{name}"), load_file(f"many/{task}/{name}")
            assert one.keys() == many.keys()
            for key, tensor in one.items():
                torch.testing.assert_close(many[key], tensor, rtol=1e-9, atol=1e-12)
        for rank in range(1, ranks):
            own = load_file(f"many/{task}/weights.{rank}")
            assert all(torch.equal(tensor, own[key]) for key, tensor in load_file(f"many/{task}/weights.0").items())


def test_a_killed_rank_ends_the_job_and_any_number_of_ranks_can_go_on(workspace: Path) -> None:
    program = with_accident("os.kill(os.getpid(), signal.SIGKILL)")
    result = torchrun(2, program, *train_arguments("cut"))
    assert result.returncode != 0
    (error,) = errors(result)
    assert "a rank was lost" in error
    assert "--resume" in error
    assert CheckpointFolder(Path("cut/training")).load_newest()[0].step == 2
    launch.train(Path("experiment.yaml"), Path("cut"), overrides=SETTINGS, resume=True, device="cpu")
    records = log("cut")
    steps = [record["step"] for record in records if record["kind"] == "step"]
    assert steps == list(range(1, len(steps) + 1))
    assert [record["kind"] for record in records].count("epoch") == 3


def test_a_signal_to_one_rank_makes_all_stop_after_the_same_step(workspace: Path) -> None:
    results = run_ranks(2, with_accident("os.kill(os.getpid(), signal.SIGTERM)"), *train_arguments("cut"))
    assert 0 not in [result.returncode for result in results]
    (error,) = errors(*results)
    assert "after step 3; state saved, go on with --resume" in error
    assert CheckpointFolder(Path("cut/training")).load_newest()[0].step == 3
    results = run_ranks(3, "-m", "asr", *train_arguments("cut", "--resume"))
    assert [result.returncode for result in results] == [0, 0, 0], results[0].stderr
    told = "".join(result.stderr for result in results)
    assert told.count("resuming after step 3") == 1
    assert told.count("done in") == 1
    assert Path("cut/model.safetensors").exists()


def test_a_failure_of_one_rank_is_told_once(workspace: Path) -> None:
    for number in range(4):
        Path(f"audio/{number}.wav").unlink()
    results = run_ranks(2, "-m", "asr", *train_arguments("out", "--set", "frontend.cmvn=global"))
    assert 0 not in [result.returncode for result in results]
    (error,) = errors(*results)
    assert "audio/0.wav" in error
    assert not any("Traceback" in result.stderr for result in results)


def test_a_process_started_by_itself_is_a_world_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with joined("cpu") as world:
        assert (world.rank, world.size) == (0, 1)
        assert world.all_reduce(1, 2.5) == [1, 2.5]
        assert world.all_gather("x") == ["x"]
        with world.main_first("anything"):
            pass
