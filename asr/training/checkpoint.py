"""Resumable training state: one folder per checkpoint, renamed into place when complete.

    training/checkpoints/00001200/   state.safetensors (weights, optimizer, EMA), progress.json
    training/epochs/0012.safetensors weights after an epoch, kept while among the best or last K

Checkpoints are taken between optimiser steps, so there are no half-accumulated gradients to keep. Dropout is reseeded
from (seed, step) before every batch, so there is no random state to keep either: resuming draws the same numbers.

All files carry checksums. A checkpoint that is damaged or holds NaN is never resumed from; one that holds NaN is never
written.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from asr.bundle.tensors import first_not_finite, load_tensors, save_tensors
from asr.errors import BundleError, TrainingError
from asr.optim.averaging import average_states
from asr.system.runtime import write_text_atomic

STATE_FILE = "state.safetensors"
PROGRESS_FILE = "progress.json"
CHECKSUM = "sha256"  # key in progress.json, of all the others
FORMER_NAMES = {"epoch_utterances": "epoch_count", "audio_seconds": "amount"}  # in progress.json of asr 0.1
KEPT_CHECKPOINTS = 2  # the newest, and one to fall back to should it be damaged


@dataclass
class Progress:
    """The state of a run apart from tensors."""

    epoch: int = 0  # epochs finished
    batch: int = 0  # batches of the current epoch already used
    step: int = 0  # optimiser steps, skipped ones included
    skipped: int = 0  # steps skipped for a non-finite loss or gradient, or because no audio could be read
    unreadable: int = 0  # rows left out of their batches because their audio could not be read, counted in every epoch
    skipped_in_a_row: int = 0
    validations: list[dict[str, float]] = field(default_factory=list)  # {"epoch", metric} in time order
    epoch_loss: float = 0.0  # sum over the current epoch
    epoch_parts: dict[str, float] = field(default_factory=dict)  # the same of each part of the loss
    epoch_count: int = 0  # utterances or tokens it is a sum of
    amount: float = 0.0  # trained on so far, in the task's unit
    seconds: float = 0.0  # spent so far, validation included
    log_bytes: int = 0  # length of train.jsonl at the checkpoint
    start: dict[str, float] | None = None  # what the weights were worth before the first step, where that was measured
    halved_steps: list[dict[str, Any]] = field(default_factory=list)  # batches too large for the memory: Parts.to_json

    def best(self, metric: str, num: int) -> list[dict[str, float]]:
        """The `num` validations with the lowest metric; of equals the later ones, which have trained longer."""
        return sorted(self.validations, key=lambda row: (row[metric], -row["epoch"]))[:num]

    def validations_without_gain(self, metric: str) -> int:
        """How many validations have passed since the best one."""
        values = [row[metric] for row in self.validations]
        return len(values) - 1 - values.index(min(values)) if values else 0


def unchanged(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors."""
    return tensors


class CheckpointFolder:
    """The `training/` part of an experiment folder.

    `upgrade` gives weights that an earlier version wrote the names they have now.
    """

    def __init__(self, folder: Path, upgrade: Callable[[dict[str, Tensor]], dict[str, Tensor]] = unchanged) -> None:
        self.folder = folder
        self.upgrade = upgrade
        self.checkpoints = folder / "checkpoints"
        self.epochs = folder / "epochs"

    def save(self, progress: Progress, tensors: dict[str, Tensor]) -> None:
        """Write one checkpoint completely, then rename it into place; it and the one before it are kept.

        TrainingError if a tensor is not finite, or if the disk is full; older checkpoints are then as they were.
        """
        _refuse_not_finite(tensors, f"step {progress.step}")
        final = self.checkpoints / f"{progress.step:08d}"
        partial = self.checkpoints / ".partial"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            save_tensors(partial / STATE_FILE, tensors)
            stored = asdict(progress)
            write_text_atomic(partial / PROGRESS_FILE, json.dumps({**stored, CHECKSUM: _checksum(stored)}))
            shutil.rmtree(final, ignore_errors=True)
            partial.replace(final)
        except OSError as error:
            raise TrainingError(
                f"{final}: cannot write ({error.strerror}); make room, then go on with --resume"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        complete = self._complete()
        place = complete.index(final)
        for leftover in (*complete[: max(0, place + 1 - KEPT_CHECKPOINTS)], *complete[place + 1 :]):
            shutil.rmtree(leftover, ignore_errors=True)  # later ones are damaged, or of the run before it was resumed

    def load_newest(self) -> tuple[Progress, dict[str, Tensor], list[str]] | None:
        """The newest good checkpoint and a warning for each damaged one; None if there was never one."""
        damaged: list[str] = []
        for folder in reversed(self._complete()):
            try:
                progress, tensors = _load(folder)
            except (BundleError, OSError, ValueError, TypeError) as error:
                damaged.append(f"{folder}: damaged ({error})")
            else:
                warnings = [f"{found}; falling back to the checkpoint before it" for found in damaged]
                return progress, self.upgrade(tensors), warnings
        if damaged:
            raise TrainingError(f"no checkpoint is good, train again into another folder: {'; '.join(damaged)}")
        return None

    def newest_step(self) -> int:
        """The optimiser step of the newest checkpoint, be it damaged; 0 without one."""
        return max((int(folder.name) for folder in self._complete()), default=0)

    def exist(self) -> bool:
        """Whether a run has reached its first checkpoint here."""
        return bool(self._complete())

    def kept_epochs(self) -> list[int]:
        """The epochs whose weights are on disk."""
        return sorted(int(path.stem) for path in self.epochs.glob("*.safetensors"))

    def save_epoch(self, epoch: int, weights: dict[str, Tensor]) -> None:
        """Keep the weights after an epoch; TrainingError if they are not finite."""
        _refuse_not_finite(weights, f"epoch {epoch}")
        save_tensors(self._epoch_file(epoch), weights)

    def prune_epochs(self, keep: set[int]) -> None:
        """Delete the weights of epochs that can no longer become part of the final model."""
        for epoch in set(self.kept_epochs()) - keep:
            self._epoch_file(epoch).unlink()

    def average_epochs(self, epochs: list[int]) -> dict[str, Tensor]:
        """The mean of the weights after some epochs."""
        return average_states([self.upgrade(load_tensors(self._epoch_file(epoch))) for epoch in epochs])

    def _epoch_file(self, epoch: int) -> Path:
        return self.epochs / f"{epoch:04d}.safetensors"

    def _complete(self) -> list[Path]:
        return sorted(path for path in self.checkpoints.glob("[0-9]*") if path.is_dir())


def _load(folder: Path) -> tuple[Progress, dict[str, Tensor]]:
    """A checkpoint; one of the errors that `load_newest` expects if it is damaged."""
    stored = json.loads((folder / PROGRESS_FILE).read_text(encoding="utf-8"))
    if stored.pop(CHECKSUM, None) not in (None, _checksum(stored)):  # asr 0.1 wrote none
        raise BundleError(f"{folder / PROGRESS_FILE}: does not fit its checksum")
    progress = Progress(**{FORMER_NAMES.get(name, name): value for name, value in stored.items()})
    tensors = load_tensors(folder / STATE_FILE)
    if (name := first_not_finite(tensors)) is not None:
        raise BundleError(f"{folder / STATE_FILE}: tensor '{name}' holds NaN or infinity")
    return progress, tensors


def _checksum(progress: dict[str, Any]) -> str:
    """SHA-256 of the counters as JSON."""
    return hashlib.sha256(json.dumps(progress, sort_keys=True).encode()).hexdigest()


def _refuse_not_finite(tensors: dict[str, Tensor], when: str) -> None:
    """TrainingError for tensors with NaN or infinity: they would displace good ones."""
    if (name := first_not_finite(tensors)) is not None:
        raise TrainingError(
            f"{when}: '{name}' holds NaN or infinity, so it is not saved; the checkpoints before are good. "
            "--resume goes on from them; should this happen again, lower optimizer.lr and use another --out"
        )


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, their names prefixed."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, which is cut off."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
