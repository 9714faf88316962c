"""What `asr train` and `asr average` do: from a configuration file to a model folder."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from asr.bundle.bundle import Bundle
from asr.bundle.folder import CONFIG_FILE
from asr.bundle.training_texts import TrainingTexts
from asr.config import Experiment, dump_yaml, load_experiment, parse_experiment, read_yaml
from asr.errors import TrainingError
from asr.experiments.asr_task import AsrTask
from asr.experiments.batch_size import with_saved_batch_seconds
from asr.experiments.card import write_card
from asr.experiments.claim import claimed
from asr.experiments.loss import batch_loss
from asr.experiments.prepare import Prepared, data_hash, prepare
from asr.experiments.profile import profiled
from asr.experiments.start import (
    Launch,
    build_trainer,
    num_parameters,
    open_folder,
    open_training_folder,
    refuse_other_experiment,
    settle_dtype,
    steps_per_epoch,
    with_continuation,
    with_provenance,
)
from asr.experiments.trial import Trial
from asr.system.display import Display, clock
from asr.system.runtime import write_text_atomic
from asr.training.checkpoint import CheckpointFolder, Progress
from asr.training.compile import compile_layers
from asr.training.distributed import World
from asr.training.trainer import Trainer


def train(
    config_file: Path,
    out: Path,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    device: str = "auto",
    threads: int | None = None,
    tensorboard: bool = False,
    profile: bool = False,
    on_step: Callable[[Trainer[Any]], None] = lambda _trainer: None,
) -> Progress:
    """Train the experiment of a YAML file into the model folder `out`.

    Without `resume`, a folder that holds anything is refused. With it, training goes on from the newest checkpoint,
    or starts if there is none; configuration and data must be those the folder was started with. `tensorboard` has
    the log written as event files, too, from then on.

    A process that `torchrun` started is one rank of several that train together, and all must call this alike; `out`
    and the data are on a disk that all of them see. Rank 0 makes the folder, the others read what they need from it.
    With `profile` it also records a few of its steps, see `asr.experiments.profile`. `on_step` is called on every rank
    after each optimiser step, before the checkpoint that may follow it; what it raises ends the run.
    """
    words = ["asr", "train", str(config_file), *(f"--set={override}" for override in overrides)]
    launch = Launch(words, out, resume, device, threads, tensorboard, profile, on_step)
    with launch.joined() as world:
        return train_experiment(load_experiment(config_file, overrides), launch, world)


def train_experiment(
    config: Experiment, launch: Launch, world: World, replay_halved: Sequence[dict[str, Any]] = ()
) -> Progress:
    """As `train`, for an experiment at hand; `replay_halved` is `Progress.halved_steps` of a run to be repeated."""
    display = world.display()
    with claimed(launch.out) if world.is_main else nullcontext():
        with world.main_first("model folder"):
            checkpoints, started = open_folder(launch.out, launch.resume, world)
            if started:
                prepared = _go_on(config, launch, world, checkpoints.newest_step(), display)
            else:
                prepared = _begin(config, launch, world, display)
            if world.is_main:
                open_training_folder(checkpoints.folder, launch)
        display.say(describe(prepared))
        task = AsrTask(prepared, launch.out, world.device, world)
        settled = prepared.bundle.experiment
        if settled.training.compile:
            trial = Trial(prepared.bundle, world.device)
            compile_layers(task.model, trial.odd_loss, settled.training.dtype, display.say)
        folder = checkpoints.folder / "profile" if launch.profile and world.is_main else None
        with profiled(task, folder, settled.training.accumulation, display.say) as watched:
            progress = build_trainer(
                watched, settled, checkpoints, display, world, prepared.frozen, launch.on_step
            ).run(replay_halved)
        if world.is_main:
            write_card(launch.out)
    display.say(f"done in {clock(progress.seconds)}: model in {launch.out}")
    return progress


def _begin(config: Experiment, launch: Launch, world: World, display: Display) -> Prepared:
    """Everything for the first step, and the model folder on disk."""
    config = settle_dtype(config, world.device, None, display.say)
    config = with_provenance(config, launch, data_hash(config), world)
    prepared = prepare(config, display.say, world=world)
    prepared.bundle.save(launch.out)
    if prepared.training_texts is not None:
        prepared.training_texts.save(launch.out)
    if prepared.init_report is not None:
        prepared.init_report.save(launch.out / "training")
    return prepared


def _go_on(config: Experiment, launch: Launch, world: World, step: int, display: Display) -> Prepared:
    """Everything for the step after `step` of the run that the model folder holds. Rank 0 checks and records it."""
    path = launch.out / CONFIG_FILE
    saved = parse_experiment(read_yaml(path), source=str(path))
    config = with_saved_batch_seconds(settle_dtype(config, world.device, saved, display.say), saved)
    if world.is_main:
        refuse_other_experiment(config, saved, data_hash(config), launch.out)
        write_text_atomic(path, dump_yaml(with_continuation(saved, launch, step, world, display.say)))
    return prepare(config, display.say, Bundle.load(launch.out), world)


def describe(prepared: Prepared) -> str:
    """Hours, vocabulary, parameters and steps in one line."""
    bundle = prepared.bundle
    return (
        f"{prepared.train_hours:.2f} h in {len(prepared.train)} utterances ({len(prepared.rejected)} set aside), "
        f"{len(prepared.dev)} dev; {bundle.tokenizer.vocab_size} tokens ({bundle.experiment.tokenizer.name}); "
        f"{num_parameters(bundle.model) / 1e6:.2f} M parameters; {_steps_per_epoch(prepared)} steps an epoch"
    )


def dry_run(config_file: Path, overrides: Sequence[str] = (), threads: int | None = None) -> dict[str, Any]:
    """What a run would do, measured on its first batch; nothing is trained or written.

    Returns hours, utterances, set-aside rows by reason code, vocabulary size, parameters, steps per epoch, and
    estimates: seconds for the whole run (validation excluded) and peak memory in GB.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    config = settle_dtype(load_experiment(config_file, overrides), torch.device("cpu"), None, lambda _: None)
    prepared = prepare(config, lambda _: None)
    bundle = prepared.bundle
    parameters = num_parameters(bundle.model)
    rate = _audio_seconds_per_second(prepared)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 + 8 * parameters / 2**30  # with AdamW's moments
    return {
        "hours": round(prepared.train_hours, 3),
        "utterances": len(prepared.train),
        "set_aside": prepared.rejected.counts,
        "ctc_infeasible": prepared.rejected.counts.get("ctc_infeasible", 0),
        "vocabulary": bundle.tokenizer.vocab_size,
        "parameters": parameters,
        "steps_per_epoch": _steps_per_epoch(prepared),
        "max_batch_seconds": bundle.experiment.data.batch_seconds,
        "epochs": config.training.epochs,
        "audio_seconds_per_second": round(rate, 1),
        "estimated_seconds": round(prepared.train_hours * 3600 * config.training.epochs / rate),
        "estimated_peak_gb": round(peak, 2),
    }


def _steps_per_epoch(prepared: Prepared) -> int:
    return steps_per_epoch(prepared.train_loader.num_batches(0), prepared.bundle.experiment)


def _audio_seconds_per_second(prepared: Prepared) -> float:
    """Throughput of forward and backward on the first batch; the first of two passes warms up."""
    config, model = prepared.bundle.experiment, prepared.bundle.model
    batch = next(iter(prepared.train_loader.epoch(0)))
    model.train()
    seconds = 0.0
    for _ in range(2):
        begin = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=config.training.dtype == "bfloat16"):
            output = batch_loss(model, batch, config.loss)
        output.total.backward()
        seconds = time.perf_counter() - begin
    return float(batch.feature_lens.sum()) * prepared.bundle.frontend.frame_seconds / batch.num_views / seconds


def average(
    experiment: Path,
    out: Path,
    *,
    best: int | None = None,
    last: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> list[int]:
    """Average the weights of the best or last K validated epochs into a new model folder; returns the epochs.

    `dtype` is how the network's weights are stored; they are always float32 once loaded.
    """
    bundle = Bundle.load(experiment)
    checkpoints = CheckpointFolder(experiment / "training")
    loaded = checkpoints.load_newest() if checkpoints.exist() else None
    if loaded is None:
        raise TrainingError(f"{experiment / 'training'}: no training state to average; it is needed for this command")
    if out.exists() and any(out.iterdir()):
        raise TrainingError(f"{out}: the folder is not empty; choose another --out")
    progress = loaded[0]
    rows = progress.best("wer", best) if best is not None else progress.validations[-(last or 1) :]
    epochs = [int(row["epoch"]) for row in rows]
    missing = [epoch for epoch in epochs if epoch not in checkpoints.kept_epochs()]
    if missing:
        raise TrainingError(
            f"{experiment}: weights of epochs {missing} were not kept; training.average_num decides how many are "
            f"(kept: {checkpoints.kept_epochs()})"
        )
    bundle.model.load_state_dict(checkpoints.average_epochs(epochs))
    replace(bundle, spec=_averaged(bundle.experiment, epochs)).save(out, dtype)
    if (texts := TrainingTexts.load(experiment)) is not None:
        texts.save(out)
    write_card(out)
    return epochs


def _averaged(config: Experiment, epochs: list[int]) -> Experiment:
    """The configuration, on record that the weights are not those that its run ended with."""
    if config.provenance is None:
        return config
    provenance = config.provenance.model_copy(update={"averaged": epochs})
    return config.model_copy(update={"provenance": provenance})
