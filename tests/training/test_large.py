"""Training on a corpus too large to hold is training on a small one, and resumes as exactly."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from asr.data.manifest import line_files
from asr.data.sampler import BucketSampler
from asr.experiments import launch, prepare
from asr.training.trainer import Trainer

SETTINGS = (
    "training.epochs=2",
    "training.checkpoint_every=1",
    "optimizer.lr=0.001",
    "data.max_batch_seconds=1.5",
    "data.min_duration=1.2",  # one row is set aside
    "encoder.dropout=0.1",
    "frontend.cmvn=global",
)


class Killed(BaseException):
    """Stands for a process that ends without a chance to do anything."""


def train(out: str, *, resume: bool = False, kill_at: int | None = None) -> bytes:
    """The weights of a run, which may be killed right after a step."""

    def die(trainer: Trainer) -> None:
        if trainer.progress.step == kill_at:
            raise Killed

    launch.train(Path("experiment.yaml"), Path(out), overrides=SETTINGS, resume=resume, device="cpu", on_step=die)
    return Path(out, "model.safetensors").read_bytes()


def test_a_manifest_that_is_not_held_trains_the_same_model(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = train("held")
    monkeypatch.setattr(line_files, "HELD_BYTES", 0)
    assert train("read") == held
    texts = [Path(out, "training_texts.bin").read_bytes() for out in ("held", "read")]
    assert texts[0] == texts[1]
    assert list(workspace.glob(".train.jsonl.index/*/set-aside-*.npy"))


@pytest.mark.parametrize("step", [1, 2, 4])
def test_a_killed_run_of_several_pools_resumes_in_the_middle_of_an_epoch(
    step: int, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_files, "HELD_BYTES", 0)
    monkeypatch.setattr(prepare, "BucketSampler", functools.partial(BucketSampler, pool=2))
    whole = train("whole")
    with pytest.raises(Killed):
        train("cut", kill_at=step)
    assert train("cut", resume=True) == whole


def test_the_tokenizer_of_a_large_corpus_is_trained_on_a_sample(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = prepare.Experiment.model_validate({"data": {"train": "train.jsonl", "dev": "dev.jsonl"}, "seed": 3})
    rows = prepare.read_training_rows(config.data)
    everything = list(prepare.tokenizer_texts(config, rows))
    assert everything == [row.text for row in rows]
    monkeypatch.setattr(prepare, "MAX_TOKENIZER_TEXTS", 2)
    sample = list(prepare.tokenizer_texts(config, rows))
    assert len(sample) == 2
    assert set(sample) < set(everything)
    assert sample == list(prepare.tokenizer_texts(config, rows))
