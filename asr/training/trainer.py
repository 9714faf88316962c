"""The one training loop, for any task that has a loss; read it from top to bottom.

A run is a sequence of optimiser steps. Everything random in a step follows from (seed, step) or (seed, epoch,
utterance), and a checkpoint stands between two steps, so a killed run that is resumed ends with the same weights, bit
for bit, as one that was never stopped.

Every rank of a distributed run goes through the same loop and keeps the same counters. They agree once before each
step and add up its gradients in it; rank 0 alone writes and shows anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Generic

import torch

from asr.config import TrainingConfig
from asr.errors import StoppedError, TrainingError
from asr.optim.averaging import Ema
from asr.optim.optimizers import Optimizer
from asr.optim.schedule import Schedule
from asr.system.display import Display, clock
from asr.training.checkpoint import (
    CheckpointFolder,
    Progress,
    with_prefix,
    without_prefix,
)
from asr.training.compile import num_compilations
from asr.training.distributed import ALONE, World
from asr.training.freezing import FrozenParts
from asr.training.memory import describe_parts
from asr.training.metrics import LOG_FILE, TrainLog, by_part, finite
from asr.training.step import StepOutcome, Stepper
from asr.training.stopping import CTRL_C, stop_requests
from asr.training.task import AnyBatch, Task
from asr.upgrade import upgrade_tensors

MAX_NAMED = 20  # unreadable utterances to warn about; the log names all


class InterruptedRunError(StoppedError):
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
    world: World = ALONE
    frozen: FrozenParts | None = None
    measure_start: bool = False  # validate before the first step, too: where the weights are not random
    # called on every rank after each optimiser step, before the checkpoint that may follow it
    on_step: Callable[[Trainer[AnyBatch]], None] = lambda _trainer: None

    def __post_init__(self) -> None:
        self.model = self.task.model
        self.device = next(self.model.parameters()).device
        self.base_lrs = [group["lr"] for group in self.optimizer.param_groups]
        self.ema = Ema(self.model, self.config.ema_decay) if self.config.ema_decay else None
        self.progress = Progress()
        self.log: TrainLog | None = None  # rank 0 alone has one
        self._named: set[str] = set()  # unreadable utterances that were warned about
        self._unread: list[StepOutcome] = []  # of steps that the host has not read yet
        self._last_step: dict[str, Any] = {}  # loss and gradient norm of the last step read, for the log
        self._last_reason = ""  # why a step was skipped, for an error
        self._epoch_seconds = 0.0  # spent in the steps of this epoch since the process began
        self._rate_key = f"{self.task.unit.key}_per_second"  # in train.jsonl

    def run(self, replay_halved: Sequence[dict[str, Any]] = ()) -> Progress:
        """Train to the last epoch or until patience runs out, then keep the averaged weights.

        `replay_halved` is `Progress.halved_steps` of a run to be repeated: its batches are cut as they were then.
        Raises InterruptedRunError after saving when SIGINT or SIGTERM arrives at any rank, TrainingError when too many
        steps in a row have no finite loss or gradient, or when another rank is lost.
        """
        self._restore()
        if self.world.is_main:
            self.log = TrainLog(self.checkpoints.folder / LOG_FILE, self.progress.log_bytes)
        self.started = time.monotonic() - self.progress.seconds
        self.stepper = Stepper(
            self.task, self.config, self.seed, self.optimizer, self.ema, self.world, replay=replay_halved
        )
        try:
            with stop_requests(is_alone=self.world.size == 1) as stop:
                if self.measure_start and self.progress.step == 0:
                    self._measure_start()
                while self.progress.epoch < self.config.epochs and not self._out_of_patience():
                    self._train_epoch(stop)
                    self._finish_epoch()
            self._keep_average()
        finally:
            if self.log is not None:
                self.log.draw(self.task.metric, self.task.item, at_once=True)
                self.log.close()
        return self.progress

    def _measure_start(self) -> None:
        """Record what the weights are worth before the first step."""
        measures = self.progress.start = self.task.validate()
        self._write({"kind": "start", "step": 0, **measures})
        self.display.say(f"before the first step: {self._shown(measures)}")

    # One epoch

    def _train_epoch(self, stop: list[str]) -> None:
        progress = self.progress
        self.model.train()
        began = time.monotonic()
        batches = iter(self.task.batches(progress.epoch, progress.batch))
        while True:
            share = list(islice(batches, self.config.accumulation))
            count, amount, num_unreadable = self._agree(share, stop)
            if not share:
                break
            if num_unreadable:
                self._note_unreadable(share)
            self._step(share, count, amount)
            self._show_step()
            self.on_step(self)
            if progress.step % self.config.checkpoint_every == 0:
                self._save()
        self._epoch_seconds = time.monotonic() - began

    def _agree(self, share: Sequence[AnyBatch], stop: list[str]) -> tuple[int, float, int]:
        """Sums over all ranks for the next step: `count`, `amount`, and the number of rows left out.

        InterruptedRunError if any of them was asked to stop.
        """
        own = [batch for batch in share if batch.ids]
        count, amount, num_unreadable, ctrl_c, others = self.world.all_reduce(
            sum(map(self.task.count, own)),
            sum(map(self.task.amount, own)),
            sum(len(batch.unreadable) for batch in share),
            stop.count(CTRL_C),
            len(stop) - stop.count(CTRL_C),
        )
        if ctrl_c or others:
            self._save()
            asked_by = stop[0] if stop else CTRL_C if ctrl_c else "a signal to another rank"
            raise InterruptedRunError(
                f"stopped by {asked_by} after step {self.progress.step}; state saved, go on with --resume"
            )
        return int(count), amount, int(num_unreadable)

    def _step(self, share: Sequence[AnyBatch], count: int, amount: float) -> None:
        """One optimiser step: the summed loss of all batches of all ranks divided by all their items.

        Without any item nothing is learnt, and the step counts as skipped.
        """
        progress = self.progress
        if self.frozen is not None:
            self.frozen.set_for(progress.step)
        factor = self.schedule(progress.step)
        for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base_lr * factor
        if count:
            self._unread.append(self.stepper.take(progress.step, share, count))
        else:
            self._read_outcomes()
            self._last_step = {"loss": None, "grad_norm": None}
            self._skip(progress.step, [], "no audio could be read")
        progress.step += 1
        progress.batch += len(share)
        progress.amount += amount
        is_logged = progress.step % self.config.log_every == 0
        if is_logged or self.device.type == "cpu":  # where reading costs nothing
            self._read_outcomes()
        if is_logged:
            self._write({"kind": "step", "step": progress.step, "epoch": progress.epoch + 1,
                         **self._last_step, "lr": self._lr()})  # fmt: skip

    def _read_outcomes(self) -> None:
        """Read the outcomes of the last steps: only here the host waits for a GPU, and all ranks at the same steps."""
        outcomes, self._unread = self._unread, []
        if not outcomes:
            return
        numbers = torch.stack([outcome.numbers() for outcome in outcomes]).tolist()
        for outcome, (loss, _, num_cut, *sums, norm, is_skipped) in zip(outcomes, numbers, strict=True):
            parts = dict(zip(self.task.loss_parts, sums, strict=True))
            if num_cut:
                self._note_cut(outcome)
            if is_skipped:
                self._note_skipped(outcome)
            else:
                self.progress.skipped_in_a_row = 0
                self.progress.epoch_loss += loss
                self.progress.epoch_count += outcome.count
                for name, part in parts.items():
                    self.progress.epoch_parts[name] = self.progress.epoch_parts.get(name, 0.0) + part
            self._last_step = {
                "loss": finite(loss / outcome.count),
                **by_part({name: finite(part / outcome.count) for name, part in parts.items()}),
                "grad_norm": finite(norm),
            }

    def _note_skipped(self, outcome: StepOutcome) -> None:
        """Name the utterances whose loss or gradient is not finite."""
        reports = self.world.all_gather([outcome.own.culprits(), [id for ids in outcome.own.ids for id in ids]])
        culprits, everyone = ([id for report in reports for id in report[part]] for part in (0, 1))
        ids = culprits or everyone
        shown = ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
        self._skip(outcome.step, ids, f"loss or gradient is not finite: {shown}")

    def _skip(self, step: int, ids: list[str], reason: str) -> None:
        """Record a step that left the weights alone; give up after too many in a row."""
        progress = self.progress
        progress.skipped += 1
        progress.skipped_in_a_row += 1
        self._last_reason = f", the last because {reason}"
        self._write({"kind": "skipped", "step": step, "epoch": progress.epoch + 1, "ids": ids})
        self.display.say(f"warning: step {step} skipped, {reason}")
        if progress.skipped_in_a_row >= self.config.max_skipped_in_a_row:
            raise TrainingError(
                f"{progress.skipped_in_a_row} steps in a row were skipped, the last because {reason}; "
                "look at these utterances (`asr data check`), or lower optimizer.lr"
            )

    def _note_unreadable(self, share: Sequence[AnyBatch]) -> None:
        """Count and log the utterances that a step does without on any rank; name the first few to people."""
        progress = self.progress
        own = [[row.id, row.reason] for batch in share for row in batch.unreadable]
        rows = [row for report in self.world.all_gather(own) for row in report]
        progress.unreadable += len(rows)
        self._write({"kind": "unreadable", "step": progress.step, "epoch": progress.epoch + 1,
                     "ids": [id for id, _ in rows]})  # fmt: skip
        for id, reason in rows:
            if len(self._named) < MAX_NAMED and id not in self._named:
                self._named.add(id)
                self.display.say(
                    f"warning: step {progress.step} goes without {reason}; "
                    "`asr data check` on the training manifest finds all such files"
                )

    def _note_cut(self, outcome: StepOutcome) -> None:
        """Record which batches of a step were too large for the memory, on any rank."""
        own = [cut.to_json(outcome.step, self.world.rank, number) for number, cut in outcome.own.parts.items()]
        cuts = [cut for report in self.world.all_gather(own) for cut in report]
        self.progress.halved_steps += cuts
        for cut in cuts:
            self._write({"kind": "halved", "epoch": self.progress.epoch + 1, **cut})
        self.display.say(
            f"warning: step {outcome.step} was too large for the memory and done in parts: "
            f"{'; '.join(map(describe_parts, cuts))}"
        )

    def _finish_epoch(self) -> None:
        """Validate, keep the weights if they may become part of the final model, log, checkpoint.

        TrainingError if nothing was learnt in it.
        """
        progress = self.progress
        self._read_outcomes()
        if not progress.epoch_count:
            raise TrainingError(
                f"epoch {progress.epoch + 1}: all its steps were skipped, so nothing was learnt{self._last_reason}; "
                "look at the data (`asr data check`), or lower optimizer.lr"
            )
        progress.epoch += 1
        progress.batch = 0
        waited, spent = self.world.all_reduce(self.task.waited_seconds, self._epoch_seconds)
        record: dict[str, Any] = {
            "kind": "epoch", "epoch": progress.epoch, "step": progress.step, "lr": self._lr(),
            "loss": progress.epoch_loss / max(1, progress.epoch_count),
            **by_part({name: part / max(1, progress.epoch_count) for name, part in progress.epoch_parts.items()}),
            "skipped": progress.skipped, "unreadable": progress.unreadable, "waited_share": waited / spent,
        }  # fmt: skip
        if progress.epoch % self.config.validate_every == 0 or progress.epoch == self.config.epochs:
            record |= self._validate()
        if self.config.compile:
            record["compilations"] = num_compilations()
        progress.epoch_loss, progress.epoch_parts, progress.epoch_count = 0.0, {}, 0
        progress.seconds = time.monotonic() - self.started
        record |= {"seconds": progress.seconds, self._rate_key: progress.amount / progress.seconds}
        self._write(record)
        self._show_epoch(record)
        self._save()
        if self.log is not None:
            self.checkpoints.prune_epochs(set(self._kept_epochs()))
            self.log.draw(self.task.metric, self.task.item)

    def _validate(self) -> dict[str, float]:
        """Measures of the averaged weights, which become the model if they are the best so far."""
        progress = self.progress
        with self.ema.applied(self.model) if self.ema is not None else nullcontext():
            measures = self.task.validate()
            progress.validations.append({"epoch": progress.epoch, **measures})
            if self.world.is_main:
                self.checkpoints.save_epoch(progress.epoch, self.model.state_dict())
                if progress.validations_without_gain(self.task.metric.key) == 0:
                    self.task.keep(self.model.state_dict())
        return measures

    # Checkpoints and final weights

    def _kept_epochs(self) -> list[int]:
        """The epochs that would make the final model if training ended now."""
        num = self.config.average_num
        rows = self.progress.validations
        rows = self.progress.best(self.task.metric.key, num) if self.config.average == "best" else rows[-num:]
        return [int(row["epoch"]) for row in rows]

    def _keep_average(self) -> None:
        epochs = self._kept_epochs()
        if self.world.is_main:
            weights = self.checkpoints.average_epochs(epochs)
            self.model.load_state_dict(weights)
            self.task.keep(weights)
        self.world.broadcast_(self.model.state_dict().values())
        measures = self.task.validate()
        self._write({"kind": "average", "epochs": epochs, **measures})
        listed = ", ".join(map(str, epochs))
        metric = self.task.metric
        self.display.say(f"averaged epochs {listed}: {self._shown(measures)}")
        for metric in (self.task.metric, *self.task.other_metrics):
            if worse := metric.worse(self.progress.start, measures):
                self.display.say(f"warning: {worse}")

    def _out_of_patience(self) -> bool:
        patience = self.config.patience
        return patience is not None and self.progress.validations_without_gain(self.task.metric.key) >= patience

    def _save(self) -> None:
        """Checkpoint: all tensors and all counters, written together."""
        self._read_outcomes()
        self.progress.seconds = time.monotonic() - self.started
        if self.log is not None:
            self.progress.log_bytes = self.log.sync()
            tensors = with_prefix("model.", self.model.state_dict())
            tensors |= with_prefix("optimizer.", self.optimizer.state_tensors())
            if self.ema is not None:
                tensors |= with_prefix("ema.", self.ema.state_dict())
            self.checkpoints.save(self.progress, tensors)
        self.world.barrier()  # no rank continues, or ends the run, before it is written

    def _restore(self) -> None:
        """Start from the newest checkpoint that rank 0 can read, or from its weights."""
        loaded = self.checkpoints.load_newest() if self.world.is_main else None
        found = self.world.broadcast({"progress": asdict(loaded[0]), "warnings": loaded[2]} if loaded else None)
        if found is None:
            self.world.broadcast_(self.model.state_dict().values())
            return
        tensors = self.world.broadcast_tensors(loaded[1] if loaded else {})
        self.progress = Progress(**found["progress"])
        for warning in found["warnings"]:
            self.display.say(f"warning: {warning}")
        for prefix in ("model.", "ema.weights."):
            tensors = upgrade_tensors(tensors, list(getattr(self.model, "heads", ())), prefix)
        self.model.load_state_dict(without_prefix("model.", tensors))
        self.optimizer.load_state_tensors(without_prefix("optimizer.", tensors))
        if self.ema is not None:
            self.ema.load_state_dict(without_prefix("ema.", tensors))
        self.display.say(f"resuming after step {self.progress.step} (epoch {self.progress.epoch + 1})")

    # Log and display

    def _write(self, record: dict[str, Any]) -> None:
        if self.log is not None:
            self.log.write(record)

    def _lr(self) -> float:
        """The learning rate of the last step, by the schedule: the optimiser of a resumed run has taken no step yet."""
        return float(max(self.base_lrs) * self.schedule(self.progress.step - 1))

    def _shown(self, measures: Mapping[str, Any], width: int = 0) -> str:
        metrics = (self.task.metric, *self.task.other_metrics)
        return "  ".join(metric.show(measures[metric.key], width) for metric in metrics if metric.key in measures)

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
        score = self._shown(record, width=6)
        remaining = record["seconds"] * (self.config.epochs / record["epoch"] - 1)
        self.display.say(
            f"epoch {record['epoch']:3d}/{self.config.epochs}  step {record['step']:6d}  loss {record['loss']:8.3f}  "
            f"{score}  lr {record['lr']:.1e}  {record[self._rate_key]:.0f} {self.task.unit.symbol}/s  "
            f"waited {100 * record['waited_share']:.1f} % for data  ETA {clock(remaining)}"
        )
