"""What every training run does before its first step: look at its folder, say where it comes from, make a trainer."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch

from asr.bundle.folder import CONFIG_FILE
from asr.config import Continuation, Experiment, LmExperiment, Provenance
from asr.errors import ConfigError, TrainingError
from asr.experiments.claim import CLAIM_FILE
from asr.optim.optimizer import build_optimizer
from asr.optim.schedule import schedule
from asr.system.display import Display
from asr.system.environment import changed, environment, project_state, toolkit_state
from asr.system.runtime import atomic_path, computes_bfloat16, remove_temporary_files
from asr.training.checkpoint import CheckpointFolder
from asr.training.distributed import ALONE, World, joined
from asr.training.freezing import FrozenParts
from asr.training.task import AnyBatch, Task
from asr.training.tensorboard import FOLDER as TENSORBOARD_FOLDER
from asr.training.tensorboard import require_tensorboard
from asr.training.trainer import Trainer

RunConfig = TypeVar("RunConfig", Experiment, LmExperiment)


@dataclass(frozen=True)
class Launch:
    """How a training command was given, apart from the experiment."""

    words: Sequence[str]  # of the command, its own options left out
    out: Path
    resume: bool = False
    device: str = "auto"
    threads: int | None = None
    tensorboard: bool = False
    profile: bool = False  # of no influence on what is learnt
    on_step: Callable[[Trainer[Any]], None] = lambda _trainer: None  # called as by the trainer

    @property
    def command(self) -> str:
        """The command line that does the same."""
        words = [*self.words, "--out", str(self.out)]
        words += ["--resume"] if self.resume else []
        words += ["--device", self.device] if self.device != "auto" else []
        words += ["--threads", str(self.threads)] if self.threads is not None else []
        words += ["--tensorboard"] if self.tensorboard else []
        words += ["--profile"] if self.profile else []
        return shlex.join(words)

    @contextmanager
    def joined(self) -> Iterator[World]:
        """The world to train in, as `asr.training.distributed.joined`, with so many threads in each process.

        TrainingError if event files are wanted but TensorBoard is not installed.
        """
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        with joined(self.device) as world:
            if self.tensorboard:
                require_tensorboard()
            yield world


def open_folder(out: Path, resume: bool, world: World = ALONE) -> tuple[CheckpointFolder, bool]:
    """The checkpoints of a model folder, and whether a model to go on from is there: rank 0 has made it for the others.

    TrainingError if the folder holds anything and nobody asked to resume. What killed runs left half-written goes.
    """
    if not world.is_main:
        return CheckpointFolder(out / "training"), True
    if not resume and out.exists() and any(path.name != CLAIM_FILE for path in out.iterdir()):
        raise TrainingError(f"{out}: the folder is not empty; add --resume to go on with it, or choose another --out")
    if (out / CONFIG_FILE).is_file():
        remove_temporary_files(out)
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


def refuse_other_experiment(config: RunConfig, saved: RunConfig, data_hash: str, out: Path) -> None:
    """ConfigError if a run were to go on with another configuration or other data: it would be neither run."""
    old, new = (one.model_dump(mode="json", exclude={"provenance", "text"}) for one in (saved, config))
    if differing := [key for key in new if new[key] != old.get(key)]:
        raise ConfigError(
            f"{out / CONFIG_FILE}: differs from the given configuration in {', '.join(differing)}; use another --out"
        )
    if saved.provenance is not None and saved.provenance.data_hash != data_hash:
        raise ConfigError(
            f"{out / CONFIG_FILE}: the run began with other data (hash {saved.provenance.data_hash}, now {data_hash}); "
            "restore the manifests, or use another --out"
        )


def with_provenance(config: RunConfig, launch: Launch, data_hash: str, world: World) -> RunConfig:
    """The configuration with the command line, data and environment it is used with."""
    provenance = Provenance(
        command=launch.command,
        data_hash=data_hash,
        environment=environment(world.device, world.size),
        started=utc_now(),
    )
    return config.model_copy(update={"provenance": provenance})


def with_continuation(
    saved: RunConfig, launch: Launch, step: int, world: World, say: Callable[[str], None]
) -> RunConfig:
    """The saved configuration, on record that the run goes on; an environment unlike that of its start is warned of."""
    origin = saved.provenance
    if origin is None:
        return saved
    began = origin.environment
    otherwise = changed(began, environment(world.device, world.size))
    if otherwise:
        listed = ", ".join(f"{key} {began[key]} -> {value}" for key, value in otherwise.items())
        say(f"warning: the rest may not be bit-identical to an uninterrupted run: {listed}")
    continuation = Continuation(started=utc_now(), step=step, command=launch.command, changed=otherwise)
    return saved.model_copy(update={"provenance": origin.gone_on_with(continuation)})


def open_training_folder(folder: Path, launch: Launch) -> None:
    """Make `training/`, and keep there what was changed in the source code since its commit.

    The record of the environment names `changes-<hash>.patch` by its hash. A folder for event files, should they be
    wanted, is what has the log written to it, now and whenever the run goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for state in (toolkit_state(), project_state()):
        if state is not None and state.diff:
            with atomic_path(folder / f"changes-{state.changes}.patch") as temporary:
                temporary.write_bytes(state.diff.encode("utf-8", "surrogateescape"))
    if launch.tensorboard:
        (folder / TENSORBOARD_FOLDER).mkdir(exist_ok=True)


def utc_now() -> str:
    """`2026-11-25T14:05:12Z`"""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def build_trainer(
    task: Task[AnyBatch],
    config: Experiment | LmExperiment,
    checkpoints: CheckpointFolder,
    display: Display,
    world: World = ALONE,
    frozen: FrozenParts | None = None,
    on_step: Callable[[Trainer[Any]], None] = lambda _trainer: None,
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
        world=world,
        frozen=frozen,
        on_step=on_step,
    )


def steps_per_epoch(num_batches: int, config: Experiment | LmExperiment) -> int:
    """Optimiser steps in the first epoch; later epochs may differ by a few, as batches are formed anew."""
    return -(-num_batches // config.training.accumulation)


def num_parameters(model: torch.nn.Module) -> int:
    """How many numbers a model learns."""
    return sum(parameter.numel() for parameter in model.parameters())
