"""The training loop on a task small enough to calculate by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import fields
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from asr.config import TrainingConfig
from asr.errors import TrainingError
from asr.optim.optimizers.adamw import AdamW, AdamWConfig
from asr.system.display import Display
from asr.training.checkpoint import CheckpointFolder
from asr.training.metrics import AUDIO_SECONDS, WER, TrainLog, curves
from asr.training.task import LossOutput, StepDraws
from asr.training.trainer import Trainer
from asr.types import Batch


class Line:
    """Fits a linear function to its batches in float64; dev scores are given in advance, one per epoch."""

    metric = WER
    other_metrics = ()
    unit = AUDIO_SECONDS
    item = "utterance"
    loss_parts = ("square", "none")
    waited_seconds = 0.0

    def __init__(self, batches: list[Batch], dev_scores: Iterable[float] = ()) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(3, 1).double()
        self.data = batches
        self.dev_scores = list(dev_scores)
        self.kept: list[dict[str, Tensor]] = []

    def batches(self, epoch: int, start: int) -> Iterable[Batch]:
        return self.data[start:]

    def num_batches(self, epoch: int) -> int:
        return len(self.data)

    def loss(self, batch: Batch, draws: StepDraws) -> LossOutput:
        losses = self.model(batch.features).square().sum((1, 2))
        parts = {"square": losses.detach().sum(), "none": torch.zeros(())}
        return LossOutput(losses.sum(), losses.detach(), parts)

    def count(self, batch: Batch) -> int:
        return len(batch.ids)

    def amount(self, batch: Batch) -> float:
        return 1.0

    def num_utterances(self, batch: Batch) -> int:
        return len(batch.ids)

    def split(self, batch: Batch, sizes: Sequence[int]) -> list[Batch]:
        ends = list(accumulate(sizes))
        return [
            Batch(*(getattr(batch, field.name)[end - size : end] for field in fields(batch)))
            for size, end in zip(sizes, ends, strict=True)
        ]

    def validate(self) -> dict[str, float]:
        return {"wer": self.dev_scores.pop(0) if self.dev_scores else 0.5}

    def keep(self, weights: dict[str, Tensor]) -> None:
        self.kept.append({name: tensor.clone() for name, tensor in weights.items()})


def batch_of(features: Tensor, first: int = 0) -> Batch:
    lens = torch.full((len(features),), features.shape[1])
    ids = tuple(f"u{first + row}" for row in range(len(features)))
    return Batch(ids, features, lens, torch.zeros(len(features), 0, dtype=torch.int64), torch.zeros_like(lens))


def nothing(_trainer: Trainer) -> None:
    pass


def trainer_for(
    task: Line,
    folder: Path,
    on_step: Callable[[Trainer], None] = nothing,
    measure_start: bool = False,
    **settings: object,
) -> Trainer:
    config = TrainingConfig.model_validate({"epochs": 1, "max_grad_norm": 1e9, "average_num": 1, **settings})
    optimizer = AdamW(AdamWConfig(lr=0.1, weight_decay=0.0), task.model)
    return Trainer(
        task,
        config,
        1,
        optimizer,
        lambda _step: 1.0,
        CheckpointFolder(folder),
        Display(),
        on_step=on_step,
        measure_start=measure_start,
    )


def test_one_batch_of_four_and_accumulated_batches_of_one_and_three_step_alike(tmp_path: Path) -> None:
    features = torch.randn(4, 5, 3, dtype=torch.float64)
    whole = Line([batch_of(features)])
    split = Line([batch_of(features[:1]), batch_of(features[1:], first=1)])
    trainer_for(whole, tmp_path / "whole").run()
    trainer_for(split, tmp_path / "split", accumulation=2).run()
    for one, other in zip(whole.model.parameters(), split.model.parameters(), strict=True):
        assert one.grad is not None
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-9, atol=0)


def test_steps_and_epochs_log_each_part_of_the_loss_apart(tmp_path: Path) -> None:
    task = Line([batch_of(torch.randn(size, 5, 3, dtype=torch.float64)) for size in (2, 3)])
    trainer_for(task, tmp_path, log_every=1).run()
    records = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    one, two, epoch = records[:3]
    for record in (one, two, epoch):
        assert record["losses"] == {"square": pytest.approx(record["loss"], rel=1e-6), "none": 0.0}
    assert epoch["loss"] == pytest.approx((2 * one["loss"] + 3 * two["loss"]) / 5)


def test_every_step_is_told_on_time_and_an_error_of_the_listener_ends_the_run(tmp_path: Path) -> None:
    task = Line([batch_of(torch.randn(2, 5, 3, dtype=torch.float64)) for _ in range(3)])
    seen: list[tuple[int, list[Tensor]]] = []

    def note(trainer: Trainer) -> None:
        seen.append((trainer.progress.step, [weight.clone() for weight in trainer.model.parameters()]))
        if trainer.progress.step == 2:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        trainer_for(task, tmp_path, on_step=note, checkpoint_every=1).run()
    assert [step for step, _ in seen] == [1, 2]
    assert not torch.equal(seen[0][1][0], seen[1][1][0])
    assert CheckpointFolder(tmp_path).newest_step() == 1, "a checkpoint comes after the listener"


def test_curves_show_the_parts_of_a_loss_and_a_rate_in_percent() -> None:
    epochs = [
        {"epoch": 1, "loss": 5.0, "losses": {"ctc": 6.0, "attention": 4.0}, "lr": 0.1},
        {"epoch": 2, "loss": 3.0, "losses": {"ctc": 4.0, "attention": 2.0}, "lr": 0.2, "wer": 0.5},
    ]
    assert curves(epochs, WER, "utterance") == {
        "training loss per utterance": {
            "total": [(1, 5.0), (2, 3.0)],
            "ctc": [(1, 6.0), (2, 4.0)],
            "attention": [(1, 4.0), (2, 2.0)],
        },
        "dev WER (%)": {"WER": [(2, 50.0)]},
        "learning rate": {"lr": [(1, 0.1), (2, 0.2)]},
    }


@pytest.mark.draws_curves
@pytest.mark.parametrize("interrupted", [False, True])
def test_a_run_of_short_epochs_draws_its_curves_when_it_ends_however_that_is(tmp_path: Path, interrupted: bool) -> None:
    pytest.importorskip("matplotlib")
    task = Line([batch_of(torch.randn(2, 5, 3, dtype=torch.float64))])

    def stop(trainer: Trainer) -> None:
        assert not (tmp_path / "curves.png").exists(), "not after every epoch"
        if interrupted and trainer.progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) if interrupted else nullcontext():
        trainer_for(task, tmp_path, on_step=stop, epochs=2).run()
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_long_run_draws_its_curves_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, drawn = [0.0], []
    monkeypatch.setattr("asr.training.metrics.time.monotonic", lambda: now[0])
    monkeypatch.setattr("asr.training.metrics.draw_curves", lambda *_: drawn.append(now[0]))
    log = TrainLog(tmp_path / "train.jsonl", 0)
    for second in range(0, 100, 10):
        now[0] = float(second)
        log.draw(WER, "utterance")
    log.close()
    assert drawn == [40.0, 80.0]


def test_a_non_finite_loss_names_its_utterance_and_leaves_the_weights_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = torch.randn(3, 5, 3, dtype=torch.float64)
    features[1, 2] = math.nan
    task = Line([batch_of(torch.randn(2, 5, 3, dtype=torch.float64), first=5), batch_of(features)])
    weights: list[Tensor] = []
    progress = trainer_for(
        task, tmp_path, on_step=lambda trainer: weights.append(trainer.model.weight.detach().clone())
    ).run()
    assert progress.skipped == 1
    assert torch.equal(*weights)
    assert "u1" in capsys.readouterr().err
    skipped = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["ids"] for record in skipped if record["kind"] == "skipped"] == [["u1"]]


def test_too_many_skips_in_a_row_end_the_run(tmp_path: Path) -> None:
    broken = batch_of(torch.full((1, 5, 3), math.nan, dtype=torch.float64))
    with pytest.raises(TrainingError, match="3 steps in a row"):
        trainer_for(Line([broken] * 5), tmp_path, max_skipped_in_a_row=3).run()


def test_an_epoch_whose_steps_were_all_skipped_is_an_error_with_the_reason(tmp_path: Path) -> None:
    good = batch_of(torch.randn(2, 5, 3, dtype=torch.float64))
    broken = batch_of(torch.full((1, 5, 3), math.nan, dtype=torch.float64), first=7)
    task = Line([broken, broken])
    with pytest.raises(TrainingError, match=r"epoch 1: all its steps were skipped.*not finite: u7; look at the data"):
        trainer_for(task, tmp_path).run()
    assert task.kept == [], "no untrained model is left behind"
    assert trainer_for(Line([broken, good]), tmp_path / "half").run().epoch == 1


def test_weights_that_are_not_random_are_measured_before_the_first_step_and_only_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = Line([batch_of(torch.randn(2, 5, 3, dtype=torch.float64))] * 2, dev_scores=[0.7, 0.6, 0.4])
    trainer_for(task, tmp_path, measure_start=True).run()
    records = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record for record in records if record["kind"] == "start"] == [{"kind": "start", "step": 0, "wer": 0.7}]
    assert records[0]["kind"] == "start"
    assert "before the first step: dev WER 70.00 %" in capsys.readouterr().err
    trainer_for(task, tmp_path, measure_start=True).run()  # it is at its end
    log = (tmp_path / "train.jsonl").read_text(encoding="utf-8")
    assert log.count('"start"') == 1


def test_training_stops_when_the_dev_score_has_not_improved_for_long_enough(tmp_path: Path) -> None:
    task = Line([batch_of(torch.randn(2, 5, 3, dtype=torch.float64))], dev_scores=[0.5, 0.3, 0.4, 0.3, 0.2])
    progress = trainer_for(task, tmp_path, epochs=9, patience=2).run()
    assert progress.epoch == 4


@pytest.mark.parametrize(("average", "epochs"), [("best", [2, 4]), ("last", [4, 5])])
def test_the_final_weights_are_the_mean_of_the_best_or_last_epochs(
    average: str, epochs: list[int], tmp_path: Path
) -> None:
    task = Line([batch_of(torch.randn(2, 5, 3, dtype=torch.float64))], dev_scores=[0.9, 0.1, 0.8, 0.2, 0.7])
    weights: list[Tensor] = []
    validate = task.validate

    def note_and_validate() -> dict[str, float]:
        weights.append(task.model.weight.detach().clone())
        return validate()

    task.validate = note_and_validate
    trainer = trainer_for(task, tmp_path, epochs=5, average=average, average_num=2)
    trainer.run()
    expected = torch.stack([weights[epoch - 1] for epoch in epochs]).mean(0)
    torch.testing.assert_close(task.kept[-1]["weight"], expected, rtol=1e-12, atol=0)
    assert trainer.checkpoints.kept_epochs() == epochs
