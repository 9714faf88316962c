"""Frozen parts keep their weights bit for bit, then learn when their time has come."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from asr.bundle.bundle import Bundle
from asr.errors import ConfigError
from asr.experiments import launch
from asr.training.checkpoint import CheckpointFolder
from asr.training.trainer import Trainer

LEARNING = (
    "init_from=model",
    "optimizer={lr: 0.01, weight_decay: 0.5}",
    "training.ema_decay=0.9",
    "data.max_batch_seconds=1.5",  # four steps an epoch
)


class Killed(BaseException):
    """Stands for a process that ends without a chance to do anything."""


def train(out: str, *settings: str, resume: bool = False) -> dict[str, Tensor]:
    """The weights of a run of eight steps."""
    launch.train(Path("experiment.yaml"), Path(out), overrides=(*LEARNING, *settings), resume=resume, device="cpu")
    return Bundle.load(out).model.state_dict()


def changed(weights: dict[str, Tensor]) -> set[str]:
    """The tensors that are no longer those of the model the runs begin with."""
    start = Bundle.load("model").model.state_dict()
    return {name for name, tensor in weights.items() if not torch.equal(tensor, start[name])}


def test_frozen_parts_are_bit_identical_at_the_end_and_the_others_learn(workspace: Path) -> None:
    weights = train("out", "freeze=[encoder.subsampling, encoder.layers.0]")
    frozen = {name for name in weights if name.startswith(("encoder.subsampling.", "encoder.layers.0."))}
    assert len(frozen) > 10
    assert changed(weights) == {name for name in weights if name not in frozen} - constant(weights)


def constant(weights: dict[str, Tensor]) -> set[str]:
    """What does not change in a run without frozen parts either, buffers for one."""
    return set(weights) - changed(train("free"))


def test_frozen_parts_learn_after_so_many_steps(workspace: Path) -> None:
    seen: list[bool] = []

    def note(trainer: Trainer) -> None:
        seen.append("heads.ctc.output.linear.weight" in changed(trainer.model.state_dict()))

    overrides = (*LEARNING, "freeze={parts: [heads.ctc], steps: 5}")
    launch.train(Path("experiment.yaml"), Path("out"), overrides=overrides, device="cpu", on_step=note)
    assert seen == [False] * 5 + [True] * 3


@pytest.mark.parametrize("step", [2, 7])
def test_a_killed_run_freezes_and_lets_learn_as_if_it_had_not_stopped(
    step: int, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("freeze={parts: [encoder, heads.ctc], steps: 5}", "training.checkpoint_every=1")
    whole = train("whole", *settings)
    saved = CheckpointFolder.save

    def save_and_die(self: CheckpointFolder, progress: object, tensors: object) -> None:
        saved(self, progress, tensors)
        if progress.step == step:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointFolder, "save", save_and_die)
        with pytest.raises(Killed):
            train("cut", *settings)
    cut = train("cut", *settings, resume=True)
    assert all(torch.equal(cut[name], tensor) for name, tensor in whole.items())


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        (
            "[encoder.layers.7]",
            r"freeze.parts: 'encoder.layers.7' is no part of this model; did you mean 'encoder.layers",
        ),
        ("[encoder, heads]", "every weight is frozen"),
        ("[]", r"freeze\.parts: .*at least 1"),
        ("{parts: [encoder], steps: 0}", r"freeze\.steps: .*greater than or equal to 1"),
    ],
)
def test_what_cannot_be_frozen_is_refused(freeze: str, message: str, workspace: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        train("out", f"freeze={freeze}")
    assert not Path("out").exists()


def test_random_weights_are_not_frozen(workspace: Path) -> None:
    with pytest.raises(ConfigError, match="without init_from it would keep random weights"):
        launch.train(Path("experiment.yaml"), Path("out"), overrides=("freeze=[encoder]",), device="cpu")
