"""Event files as TensorBoard itself reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asr.errors import TrainingError
from asr.experiments import launch
from asr.training import tensorboard
from asr.training.trainer import InterruptedRunError, Trainer

SETTINGS = ("training.epochs=2", "training.checkpoint_every=2", "training.log_every=1", "data.max_batch_seconds=2.5")


def train(*, resume: bool = False, tensorboard: bool = False, stop_at: int | None = None) -> None:
    def stop(trainer: Trainer) -> None:
        if trainer.progress.step == stop_at:
            raise InterruptedRunError("stopped")

    launch.train(
        Path("experiment.yaml"),
        Path("out"),
        overrides=SETTINGS,
        resume=resume,
        device="cpu",
        tensorboard=tensorboard,
        on_step=stop,
    )


def read_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) by tag, with every step as often as it was written."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0}, purge_orphaned_data=False)
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_a_run_that_was_killed_and_resumed_shows_the_log_and_no_step_twice(workspace: Path) -> None:
    with pytest.raises(InterruptedRunError):
        train(tensorboard=True, stop_at=3)  # one step after a checkpoint
    train(resume=True)  # the folder alone is enough
    records = [json.loads(line) for line in Path("out/training/train.jsonl").read_text(encoding="utf-8").splitlines()]
    scalars = read_scalars(Path("out/training/tensorboard"))
    for kind, key in (("step", "loss"), ("step", "grad_norm"), ("step", "lr"), ("epoch", "wer"), ("epoch", "loss")):
        expected = [(record["step"], record[key]) for record in records if record["kind"] == kind]
        assert len(expected) > 1
        assert scalars[f"{kind}/{key}"] == [(step, pytest.approx(value, rel=1e-6)) for step, value in expected]
    for part in ("ctc", "transformer"):
        expected = [(record["step"], record["losses"][part]) for record in records if record["kind"] == "step"]
        assert scalars[f"step/losses/{part}"] == [(step, pytest.approx(value, rel=1e-6)) for step, value in expected]
    assert scalars["average/wer"] == [(records[-2]["step"], pytest.approx(records[-1]["wer"]))]
    assert len(list(Path("out/training/tensorboard").iterdir())) == 1


def test_without_tensorboard_the_run_is_refused_before_it_begins(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard, "find_spec", lambda _name: None)
    with pytest.raises(TrainingError, match=r"pip install 'asr-toolkit\[tensorboard\]'"):
        train(tensorboard=True)
    assert not Path("out").exists()


def test_without_the_option_nothing_of_it_is_written(workspace: Path) -> None:
    train()
    assert not Path("out/training/tensorboard").exists()
