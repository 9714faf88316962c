"""The protocol between launcher and kinds of experiments, and a task that is ready for its first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from asr.config import Experiment, LmExperiment
from asr.training.checkpoint import unchanged
from asr.training.distributed import World
from asr.training.freezing import FrozenParts
from asr.training.task import Task

AnyExperiment = TypeVar("AnyExperiment", Experiment, LmExperiment)


@dataclass(frozen=True)
class Ready:
    """A task before the first step of this process."""

    task: Task[Any]
    config: Experiment | LmExperiment  # all of it settled: `auto` stands nowhere
    description: str  # data, model and steps in a line
    odd_loss: Callable[[], Tensor]  # the loss () of a small batch, to try a compiler on; see `compile_layers`
    frozen: FrozenParts | None = None
    measure_start: bool = False  # its weights come from a trained model
    upgrade: Callable[[dict[str, Tensor]], dict[str, Tensor]] = unchanged  # see `CheckpointFolder`


class Kind(Protocol[AnyExperiment]):
    """A kind of experiment: speech recognition, language modelling."""

    command: Sequence[str]  # that trains it
    noun: str  # what comes of it

    def load(self, path: Path, overrides: Sequence[str]) -> AnyExperiment:
        """The experiment of a YAML file, as `asr.config.load_experiment`."""

    def data_hash(self, config: AnyExperiment) -> str:
        """A hash of all data, the same on every machine."""

    def with_findings_of(self, saved: AnyExperiment, config: AnyExperiment) -> AnyExperiment:
        """The configuration with what was found out when the saved run began, in the place of `auto`."""

    def begin(self, config: AnyExperiment, out: Path, world: World, say: Callable[[str], None]) -> Ready:
        """A task with fresh weights; the model is in its folder by then."""

    def resume(self, config: AnyExperiment, out: Path, world: World, say: Callable[[str], None]) -> Ready:
        """The task of the model in a folder."""


def steps_per_epoch(num_batches: int, config: Experiment | LmExperiment) -> int:
    """Optimiser steps in the first epoch; later epochs may differ by a few, as batches are formed anew."""
    return -(-num_batches // config.training.accumulation)


def num_parameters(model: nn.Module) -> int:
    """How many numbers a model learns."""
    return sum(parameter.numel() for parameter in model.parameters())
