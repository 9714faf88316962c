"""The one training loop, for any task that can tell a loss; read it from top to bottom.

A run is a sequence of optimiser steps. Everything random in a step follows from (seed, step) or (seed, epoch,
utterance), and a checkpoint stands between two steps, so a killed run that is resumed ends with the same weights, bit
for bit, as one that was never stopped.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from asr.config import TrainingConfig
from asr.display import Display, clock
from asr.errors import TrainingError
from asr.losses.joint import LossOutput
from asr.optim.averaging import Ema
from asr.optim.schedule import Schedule
from asr.runtime import derive_seed
from asr.training.checkpoint import (
    CheckpointFolder,
    Progress,
    load_optimizer_tensors,
    optimizer_tensors,
    with_prefix,
    without_prefix,
)
from asr.training.freezing import FrozenParts
from asr.training.metrics import Metric, TrainLog, Unit, draw_curves


class NamedRows(Protocol):
    """What the trainer must know of a batch."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Who stands in each row."""


AnyBatch = TypeVar("AnyBatch", bound=NamedRows)


class Task(Protocol[AnyBatch]):
    """What the trainer must know of a task."""

    metric: Metric  # what `validate` measures, and by which weights are chosen
    unit: Unit  # of `amount`
    item: str  # of `count`: "utterance"

    @property
    def model(self) -> nn.Module:
        """The network to train, on its device."""

    def batches(self, epoch: int, start: int) -> Iterable[AnyBatch]:
        """The batches of an epoch from position `start`, already on the right device."""

    def num_batches(self, epoch: int) -> int:
        """How many batches an epoch has."""

    def loss(self, batch: AnyBatch) -> LossOutput:
        """Loss summed over the items of a batch, whose number is `count`."""

    def count(self, batch: AnyBatch) -> int:
        """What the summed loss of a step is divided by: utterances, or the tokens that a language model predicts."""

    def amount(self, batch: AnyBatch) -> float:
        """How much there is to learn from in a batch, for the throughput shown."""

    def validate(self) -> dict[str, float]:
        """Measures on the dev set, `metric` among them."""

    def keep(self, weights: dict[str, Tensor]) -> None:
        """Make these the weights of the model people use."""


class InterruptedRunError(TrainingError):
    """The user or the cluster asked the run to stop; it saved its state first."""


@dataclass
class Trainer(Generic[AnyBatch]):
    """Runs a task from its newest checkpoint, or from the start, to the end."""

    task: Task[AnyBatch]
    config: TrainingConfig
    seed: int
    optimizer: Optimizer
    schedule: Schedule  # optimiser step -> factor on the learning rate
    checkpoints: CheckpointFolder
    display: Display
    frozen: FrozenParts | None = None

    def __post_init__(self) -> None:
        self.model = self.task.model
        self.device = next(self.model.parameters()).device
        self.base_lrs = [group["lr"] for group in self.optimizer.param_groups]
        self.ema = Ema(self.model, self.config.ema_decay) if self.config.ema_decay else None
        self.progress = Progress()
        self._rate_key = f"{self.task.unit.key}_per_second"  # in train.jsonl

    def run(self) -> Progress:
        """Train to the last epoch or until patience runs out, then keep the averaged weights.

        Raises InterruptedRunError after saving when SIGINT or SIGTERM arrives, TrainingError when too many steps in a
        row have no finite loss or gradient.
        """
        self._restore()
        self.log = TrainLog(self.checkpoints.folder / "train.jsonl", self.progress.log_bytes)
        self.started = time.monotonic() - self.progress.seconds
        try:
            with _stop_requests() as stop:
                while self.progress.epoch < self.config.epochs and not self._out_of_patience():
                    self._train_epoch(stop)
                    self._finish_epoch()
            self._keep_average()
        finally:
            self.log.close()
        return self.progress

    # One epoch

    def _train_epoch(self, stop: list[str]) -> None:
        progress = self.progress
        self.model.train()
        batches = iter(self.task.batches(progress.epoch, progress.batch))
        while micro_batches := list(islice(batches, self.config.accumulation)):
            self._step(micro_batches)
            self._show_step()
            if stop or progress.step % self.config.checkpoint_every == 0:
                self._save()
            if stop:
                raise InterruptedRunError(
                    f"stopped by {stop[0]} after step {progress.step}; state saved, go on with --resume"
                )

    def _step(self, micro_batches: Sequence[AnyBatch]) -> None:
        """One optimiser step: the summed loss of all micro-batches divided by all their items."""
        progress = self.progress
        if self.frozen is not None:
            self.frozen.set_for(progress.step)
        learning_rate_factor = self.schedule(progress.step)
        for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base_lr * learning_rate_factor
        self.optimizer.zero_grad(set_to_none=True)
        count = sum(map(self.task.count, micro_batches))
        total = 0.0
        culprits: list[str] = []
        for index, batch in enumerate(micro_batches):
            torch.manual_seed(derive_seed(self.seed, "step", progress.step, index))  # dropout
            with self._autocast():
                output = self.task.loss(batch)
            if not torch.isfinite(output.total):
                finite = torch.isfinite(output.per_utterance).tolist()
                culprits += [id for id, is_finite in zip(batch.ids, finite, strict=True) if not is_finite]
                continue
            (output.total / count).backward()
            total += float(output.total.detach())
        norm = clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        if culprits or not torch.isfinite(norm):
            self._skip(culprits or [id for batch in micro_batches for id in batch.ids])
        else:
            self.optimizer.step()
            progress.skipped_in_a_row = 0
            progress.epoch_loss += total
            progress.epoch_count += count
            if self.ema is not None:
                self.ema.update(self.model)
        progress.step += 1
        progress.batch += len(micro_batches)
        progress.amount += sum(map(self.task.amount, micro_batches))
        if progress.step % self.config.log_every == 0:
            self.log.write({"kind": "step", "step": progress.step, "epoch": progress.epoch + 1,
                            "loss": total / count, "grad_norm": float(norm), "lr": self._lr()})  # fmt: skip

    def _skip(self, ids: list[str]) -> None:
        """Leave the weights alone, name the utterances, give up after too many skips in a row."""
        progress = self.progress
        progress.skipped += 1
        progress.skipped_in_a_row += 1
        self.log.write({"kind": "skipped", "step": progress.step, "epoch": progress.epoch + 1, "ids": ids})
        shown = ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
        self.display.say(f"warning: step {progress.step} skipped, loss or gradient is not finite: {shown}")
        if progress.skipped_in_a_row >= self.config.max_skipped_in_a_row:
            raise TrainingError(
                f"{progress.skipped_in_a_row} steps in a row had no finite loss or gradient, last {shown}; "
                "look at these utterances, or lower optimizer.lr"
            )

    def _finish_epoch(self) -> None:
        """Validate, keep the weights if they may become part of the final model, log, checkpoint."""
        progress = self.progress
        progress.epoch += 1
        progress.batch = 0
        record: dict[str, Any] = {
            "kind": "epoch", "epoch": progress.epoch, "step": progress.step, "lr": self._lr(),
            "loss": progress.epoch_loss / max(1, progress.epoch_count), "skipped": progress.skipped,
        }  # fmt: skip
        if progress.epoch % self.config.validate_every == 0 or progress.epoch == self.config.epochs:
            with self._averaged_weights():
                measures = self.task.validate()
                self.checkpoints.save_epoch(progress.epoch, self.model.state_dict())
                progress.validations.append({"epoch": progress.epoch, **measures})
                if progress.validations_without_gain(self.task.metric.key) == 0:
                    self.task.keep(self.model.state_dict())
            record |= measures
        progress.epoch_loss, progress.epoch_count = 0.0, 0
        progress.seconds = time.monotonic() - self.started
        record |= {"seconds": progress.seconds, self._rate_key: progress.amount / progress.seconds}
        self.log.write(record)
        self._show_epoch(record)
        self._save()
        self.checkpoints.prune_epochs(set(self._kept_epochs()))
        draw_curves(self.log.path, self.log.path.with_name("curves.png"), self.task.metric, self.task.item)

    # What is kept

    def _kept_epochs(self) -> list[int]:
        """The epochs that would make the final model if training ended now."""
        num = self.config.average_num
        rows = self.progress.validations
        rows = self.progress.best(self.task.metric.key, num) if self.config.average == "best" else rows[-num:]
        return [int(row["epoch"]) for row in rows]

    def _keep_average(self) -> None:
        epochs = self._kept_epochs()
        weights = self.checkpoints.average_epochs(epochs)
        self.model.load_state_dict(weights)
        self.task.keep(weights)
        measures = self.task.validate()
        self.log.write({"kind": "average", "epochs": epochs, **measures})
        listed = ", ".join(map(str, epochs))
        metric = self.task.metric
        self.display.say(f"averaged epochs {listed}: {metric.show(measures[metric.key])}")

    def _out_of_patience(self) -> bool:
        patience = self.config.patience
        return patience is not None and self.progress.validations_without_gain(self.task.metric.key) >= patience

    def _save(self) -> None:
        """Checkpoint: all tensors and all counters, written together."""
        self.progress.seconds = time.monotonic() - self.started
        self.progress.log_bytes = self.log.sync()
        tensors = with_prefix("model.", self.model.state_dict())
        tensors |= with_prefix("optimizer.", optimizer_tensors(self.optimizer))
        if self.ema is not None:
            tensors |= with_prefix("ema.", self.ema.state_dict())
        self.checkpoints.save(self.progress, tensors)

    def _restore(self) -> None:
        loaded = self.checkpoints.load_newest()
        if loaded is None:
            return
        self.progress, tensors, warnings = loaded
        for warning in warnings:
            self.display.say(f"warning: {warning}")
        self.model.load_state_dict(without_prefix("model.", tensors))
        load_optimizer_tensors(self.optimizer, without_prefix("optimizer.", tensors))
        if self.ema is not None:
            self.ema.load_state_dict(without_prefix("ema.", tensors))
        self.display.say(f"resuming after step {self.progress.step} (epoch {self.progress.epoch + 1})")

    # Small things

    def _averaged_weights(self) -> AbstractContextManager[None]:
        return self.ema.applied(self.model) if self.ema is not None else _nothing()

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16")

    def _lr(self) -> float:
        """Of the last step; from the schedule, since the optimiser of a run just resumed has taken no step yet."""
        return float(self.base_lrs[0] * self.schedule(self.progress.step - 1))

    def _show_step(self) -> None:
        progress = self.progress
        batches = self.task.num_batches(progress.epoch)
        loss = progress.epoch_loss / max(1, progress.epoch_count)
        done = (progress.epoch + progress.batch / batches) / self.config.epochs
        elapsed = time.monotonic() - self.started
        self.display.update(
            f"epoch {progress.epoch + 1}/{self.config.epochs}  batch {progress.batch}/{batches}  step {progress.step}  "
            f"loss {loss:.3f}  {progress.amount / elapsed:.0f} {self.task.unit.symbol}/s  "
            f"ETA {clock(elapsed * (1 - done) / done)}"
        )

    def _show_epoch(self, record: dict[str, Any]) -> None:
        metric = self.task.metric
        score = metric.show(record[metric.key], width=6) if metric.key in record else ""
        remaining = record["seconds"] * (self.config.epochs / record["epoch"] - 1)
        self.display.say(
            f"epoch {record['epoch']:3d}/{self.config.epochs}  step {record['step']:6d}  loss {record['loss']:8.3f}  "
            f"{score}  lr {record['lr']:.1e}  {record[self._rate_key]:.0f} {self.task.unit.symbol}/s  "
            f"ETA {clock(remaining)}"
        )


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _stop_requests() -> Iterator[list[str]]:
    """Collects SIGINT and SIGTERM instead of breaking a step in two; a second SIGINT stops at once."""
    requests: list[str] = []

    def note(number: int, _frame: object) -> None:
        if requests and number == signal.SIGINT:
            raise KeyboardInterrupt
        requests.append("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)

    try:
        previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, which alone may handle signals
        yield requests
        return
    try:
        yield requests
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
