"""The one launcher: from a configuration to a trained model in its folder, begun or resumed, on any number of ranks."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asr.bundle.folder import CONFIG_FILE
from asr.config import Experiment, LmExperiment, dump_yaml
from asr.errors import TrainingError
from asr.experiments.asr_task import SPEECH
from asr.experiments.card import write_card
from asr.experiments.claim import CLAIM_FILE, claimed
from asr.experiments.lm_task import LANGUAGE_MODEL
from asr.experiments.profile import profiled
from asr.experiments.ready import AnyExperiment, Kind, steps_per_epoch
from asr.experiments.records import (
    keep_changes,
    read_experiment,
    refuse_other_experiment,
    with_continuation,
    with_provenance,
)
from asr.optim.optimizers import build_optimizer
from asr.optim.schedule import schedule
from asr.system.display import Display, clock
from asr.system.runtime import computes_bfloat16, remove_temporary_files, write_text_atomic
from asr.training.checkpoint import CheckpointFolder, Progress
from asr.training.compile import compile_layers
from asr.training.distributed import ALONE, World, joined
from asr.training.freezing import FrozenParts
from asr.training.task import AnyBatch, Task
from asr.training.tensorboard import FOLDER as TENSORBOARD_FOLDER
from asr.training.tensorboard import require_tensorboard
from asr.training.trainer import Trainer

OnStep = Callable[[Trainer[Any]], None]


def kind_of(config: Experiment | LmExperiment) -> Kind[Any]:
    """What an experiment trains."""
    return LANGUAGE_MODEL if isinstance(config, LmExperiment) else SPEECH


@dataclass(frozen=True)
class Launch:
    """The options of a training command, apart from the experiment."""

    words: Sequence[str]  # of the command, its own options left out
    out: Path
    resume: bool = False
    device: str = "auto"
    threads: int | None = None
    tensorboard: bool = False
    profile: bool = False  # of no influence on what is learnt
    on_step: OnStep = lambda _trainer: None  # called as by the trainer

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


def train(
    config_file: Path,
    out: Path,
    *,
    kind: Kind[Any] = SPEECH,
    overrides: Sequence[str] = (),
    resume: bool = False,
    device: str = "auto",
    threads: int | None = None,
    tensorboard: bool = False,
    profile: bool = False,
    on_step: OnStep = lambda _trainer: None,
) -> Progress:
    """Train the experiment of a YAML file into the model folder `out`.

    Without `resume`, a folder that holds anything is refused. With it, training continues from the newest checkpoint,
    or starts if there is none; configuration and data must be those the folder was started with. `tensorboard` has
    the log written as event files, too, from then on.

    A process that `torchrun` started is one rank of several that train together, and all must call this alike; `out`
    and the data are on a disk that all of them see. Rank 0 makes the folder, the others read what they need from it.
    With `profile` it also records a few of its steps, see `asr.experiments.profile`. `on_step` is called on every rank
    after each optimiser step, before the checkpoint that may follow it; what it raises ends the run.
    """
    words = [*kind.command, str(config_file), *(f"--set={override}" for override in overrides)]
    launch = Launch(words, out, resume, device, threads, tensorboard, profile, on_step)
    with launch.joined() as world:
        return train_experiment(kind.load(config_file, overrides), launch, world)


def train_experiment(
    config: AnyExperiment, launch: Launch, world: World, replay_halved: Sequence[dict[str, Any]] = ()
) -> Progress:
    """As `train`, for an experiment at hand; `replay_halved` is `Progress.halved_steps` of a run to be repeated."""
    kind, display = kind_of(config), world.display()
    with claimed(launch.out) if world.is_main else nullcontext():
        with world.main_first("model folder"):
            checkpoints, is_started = open_folder(launch.out, launch.resume, world)
            if is_started:
                config = _resumed(kind, config, launch, world, checkpoints.newest_step())
                ready = kind.resume(config, launch.out, world, display.say)
            else:
                config = settle_dtype(config, world.device, None, display.say)
                config = with_provenance(config, launch.command, kind.data_hash(config), world)
                ready = kind.begin(config, launch.out, world, display.say)
            if world.is_main:
                _open_training_folder(checkpoints.folder, launch)
        display.say(ready.description)
        training = ready.config.training
        if training.compile:
            compile_layers(ready.task.model, ready.odd_loss, training.dtype, display.say)
        checkpoints = CheckpointFolder(checkpoints.folder, ready.upgrade)
        folder = checkpoints.folder / "profile" if launch.profile and world.is_main else None
        with profiled(ready.task, folder, training.accumulation, display.say) as task:
            trainer = build_trainer(
                task, ready.config, checkpoints, display, world, ready.frozen, ready.measure_start, launch.on_step
            )
            progress = trainer.run(replay_halved)
        if world.is_main:
            write_card(launch.out)
    display.say(f"done in {clock(progress.seconds)}: {kind.noun} in {launch.out}")
    return progress


def _resumed(
    kind: Kind[AnyExperiment], config: AnyExperiment, launch: Launch, world: World, step: int
) -> AnyExperiment:
    """The configuration for the steps after `step` of the run in a folder. Rank 0 checks and records it."""
    say = world.display().say
    saved: Any = read_experiment(launch.out)
    config = kind.with_findings_of(settle_dtype(config, world.device, saved, say), saved)
    if world.is_main:
        refuse_other_experiment(config, saved, kind.data_hash(config), launch.out)
        continued = with_continuation(saved, launch.command, step, world, say)
        write_text_atomic(launch.out / CONFIG_FILE, dump_yaml(continued))
    return config


def open_folder(out: Path, resume: bool, world: World = ALONE) -> tuple[CheckpointFolder, bool]:
    """The checkpoints of a model folder, and whether there is a run to resume: rank 0 has made it for the others.

    TrainingError if the folder holds anything and `resume` is not set. Half-written files of killed runs are deleted.
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
    config: AnyExperiment, device: torch.device, saved: AnyExperiment | None, say: Callable[[str], None]
) -> AnyExperiment:
    """The configuration with `training.dtype: auto` decided: as in the run to be resumed, else by the device.

    Warns where bfloat16 was asked for but is emulated.
    """
    dtype = config.training.dtype
    if dtype == "bfloat16" and not computes_bfloat16(device):
        say("warning: this processor emulates bfloat16, very slowly; use --set training.dtype=float32, or auto")
    if dtype != "auto":
        return config
    found = saved.training.dtype if saved is not None else "bfloat16" if computes_bfloat16(device) else "float32"
    return config.model_copy(update={"training": config.training.model_copy(update={"dtype": found})})


def _open_training_folder(folder: Path, launch: Launch) -> None:
    """Make `training/`, with the source code's changes; a folder for event files there has the log written to it."""
    folder.mkdir(parents=True, exist_ok=True)
    keep_changes(folder)
    if launch.tensorboard:
        (folder / TENSORBOARD_FOLDER).mkdir(exist_ok=True)


def build_trainer(
    task: Task[AnyBatch],
    config: Experiment | LmExperiment,
    checkpoints: CheckpointFolder,
    display: Display,
    world: World = ALONE,
    frozen: FrozenParts | None = None,
    measure_start: bool = False,
    on_step: OnStep = lambda _trainer: None,
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
        measure_start=measure_start,
        on_step=on_step,
    )
