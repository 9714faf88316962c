"""The protocol between launcher and kinds of experiments, and a task that is ready for its first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

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


@dataclass(frozen=True)
class Kind(Generic[AnyExperiment]):
    """A kind of experiment: speech recognition, language modelling."""

    command: Sequence[str]  # that trains it
    noun: str  # of its result
    load: Callable[[Path, Sequence[str]], AnyExperiment]  # a YAML file and overrides, as `load_experiment`
    data_hash: Callable[[AnyExperiment], str]  # of all data, the same on every machine
    # a task with fresh weights, its model in its folder by then; or that of a folder. The last argument shows a line.
    begin: Callable[[AnyExperiment, Path, World, Callable[[str], None]], Ready]
    resume: Callable[[AnyExperiment, Path, World, Callable[[str], None]], Ready]
    # a configuration, its `auto` replaced by the findings of the run that is resumed (the second argument)
    with_findings_of: Callable[[AnyExperiment, AnyExperiment], AnyExperiment] = lambda config, _saved: config


def steps_per_epoch(num_batches: int, config: Experiment | LmExperiment) -> int:
    """Optimiser steps in the first epoch; later epochs may differ by a few, as batches are formed anew."""
    return -(-num_batches // config.training.accumulation)


def num_parameters(model: nn.Module) -> int:
    """How many numbers a model learns."""
    return sum(parameter.numel() for parameter in model.parameters())
