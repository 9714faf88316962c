"""What every training run does before its first step: look at its folder, say where it comes from, make a trainer."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from asr.bundle import CONFIG_FILE
from asr.config import ExperimentConfig, LmConfig, Provenance
from asr.display import Display
from asr.errors import ConfigError, TrainingError
from asr.optim.optimizer import build_optimizer
from asr.optim.schedule import schedule
from asr.runtime import computes_bfloat16, environment
from asr.training.checkpoint import CheckpointFolder
from asr.training.freezing import FrozenParts
from asr.training.trainer import AnyBatch, Task, Trainer

RunConfig = TypeVar("RunConfig", ExperimentConfig, LmConfig)


def open_folder(out: Path, resume: bool) -> tuple[CheckpointFolder, bool]:
    """The checkpoints of a model folder, and whether there is one to go on from.

    TrainingError if the folder holds anything and nobody asked to resume.
    """
    if not resume and out.exists() and any(out.iterdir()):
        raise TrainingError(f"{out}: the folder is not empty; add --resume to go on with it, or choose another --out")
    checkpoints = CheckpointFolder(out / "training")
    return checkpoints, resume and checkpoints.exist()


def settle_dtype(
    config: RunConfig, device: torch.device, saved: RunConfig | None, say: Callable[[str], None]
) -> RunConfig:
    """The configuration with `training.dtype: auto` decided: as in the run to be resumed, else by the device.

    Warns where bfloat16 was asked for but would crawl.
    """
    dtype = config.training.dtype
    if dtype == "bfloat16" and not computes_bfloat16(device):
        say("warning: this processor emulates bfloat16, very slowly; use --set training.dtype=float32, or auto")
    if dtype != "auto":
        return config
    found = saved.training.dtype if saved is not None else "bfloat16" if computes_bfloat16(device) else "float32"
    return config.model_copy(update={"training": config.training.model_copy(update={"dtype": found})})


def refuse_other_config(config: RunConfig, saved: RunConfig, out: Path, display: Display) -> None:
    """Resuming with another configuration would be neither run; another environment only draws a warning."""
    if saved.provenance is not None:
        now = environment()
        changed = [f"{key} {was} -> {now.get(key)}" for key, was in saved.provenance.environment.items()
                   if key in ("torch", "numpy", "threads", "machine") and now.get(key) != was]  # fmt: skip
        if changed:
            display.say(f"warning: the rest will not be bit-identical to an uninterrupted run: {', '.join(changed)}")
    old, new = (one.model_dump(mode="json", exclude={"provenance", "text"}) for one in (saved, config))
    if differing := [key for key in new if new[key] != old.get(key)]:
        raise ConfigError(
            f"{out / CONFIG_FILE}: differs from the given configuration in {', '.join(differing)}; use another --out"
        )


def with_provenance(
    config: RunConfig, command: Sequence[str], overrides: Sequence[str], out: Path, data_hash: str
) -> RunConfig:
    """The configuration with the command line, data and environment it is used with."""
    line = shlex.join([*command, *(f"--set={override}" for override in overrides), "--out", str(out)])
    provenance = Provenance(command=line, data_hash=data_hash, environment=environment())
    return config.model_copy(update={"provenance": provenance})


def build_trainer(
    task: Task[AnyBatch],
    config: ExperimentConfig | LmConfig,
    checkpoints: CheckpointFolder,
    display: Display,
    frozen: FrozenParts | None = None,
) -> Trainer[AnyBatch]:
    """The trainer of a task, with the optimiser and the schedule of its configuration."""
    total_steps = steps_per_epoch(task.num_batches(0), config) * config.training.epochs
    return Trainer(
        task=task,
        config=config.training,
        seed=config.seed,
        optimizer=build_optimizer(config.optimizer, task.model),
        schedule=schedule(config.schedule, total_steps),
        checkpoints=checkpoints,
        display=display,
        frozen=frozen,
    )


def steps_per_epoch(num_batches: int, config: ExperimentConfig | LmConfig) -> int:
    """Optimiser steps in the first epoch; later epochs may differ by a few, as batches are formed anew."""
    return -(-num_batches // config.training.accumulation)


def num_parameters(model: torch.nn.Module) -> int:
    """How many numbers a model learns."""
    return sum(parameter.numel() for parameter in model.parameters())
