"""`asr train --reproduce`: a run repeated from what its folder has on record, and its weights compared bit by bit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.bundle.folder import CONFIG_FILE, WEIGHTS_FILE
from asr.bundle.tensors import load_tensors
from asr.config import Experiment, LmExperiment, Provenance
from asr.errors import TrainingError
from asr.experiments.launch import Launch, OnStep, kind_of, train_experiment
from asr.experiments.records import read_experiment
from asr.system.environment import changed, environment
from asr.training.checkpoint import CheckpointFolder
from asr.training.distributed import World
from asr.training.metrics import LOG_FILE, is_finished


def reproduce(
    experiment: Path,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    threads: int | None = None,
    tensorboard: bool = False,
    on_step: OnStep = lambda _trainer: None,
) -> bool:
    """Train again what the folder `experiment` holds, into `out`; whether the weights are the same to the last bit.

    Configuration, seed, number format, batch size, threads and kind of device are those on record; `device` and
    `threads` say otherwise. Language models are repeated, too. The outcome is shown at the end, a different
    environment at the start. `resume` continues a repetition that was stopped.

    TrainingError if the run has not ended or its weights were made otherwise, if it is not on record what it was
    trained on, or if the data is other than it was.
    """
    config = read_experiment(experiment)
    origin = _origin(config, experiment)
    launch = Launch(
        words=["asr", "train", "--reproduce", str(experiment)],
        out=out,
        resume=resume,
        device=origin.environment.get("device", "auto") if device == "auto" else device,
        threads=origin.environment.get("threads") if threads is None else threads,
        tensorboard=tensorboard,
        on_step=on_step,
    )
    derived = {"provenance": None} if isinstance(config, Experiment) else {"provenance": None, "text": None}
    fresh: Any = config.model_copy(update=derived)
    with launch.joined() as world:
        display = world.display()
        if world.is_main:
            _refuse_other_data(config, origin, experiment)
        differing = [*_other_environment(origin, world), *_other_continuations(origin)]
        if differing:
            display.say(f"warning: the weights may come out other than those of {experiment}: {', '.join(differing)}")
        train_experiment(fresh, launch, world, _halved_steps(experiment))
        difference = first_difference(experiment / WEIGHTS_FILE, out / WEIGHTS_FILE)
        if difference is None:
            display.say(f"reproduced: the weights of {out} are those of {experiment} to the last bit")
        else:
            reason = f"which can be due to {', '.join(differing)}" if differing else "in the same environment"
            display.say(
                f"not reproduced: {out / WEIGHTS_FILE} differs from {experiment / WEIGHTS_FILE}, {reason}: {difference}"
            )
        return difference is None


def _halved_steps(experiment: Path) -> list[dict[str, Any]]:
    """The steps that were cut for lack of memory, if the folder still has them on record."""
    checkpoints = CheckpointFolder(experiment / "training")
    loaded = checkpoints.load_newest() if checkpoints.exist() else None
    return loaded[0].halved_steps if loaded is not None else []


def first_difference(known: Path, new: Path) -> str | None:
    """Where two files of weights differ first, in the order of names, and by how much; None if they do not.

    Weights that were stored in half precision (`asr average --weights bfloat16`) are compared in it.
    """
    ours, theirs = load_tensors(new), load_tensors(known)
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            return f"only one of them has '{name}'"
        if ours[name].shape != theirs[name].shape:
            return f"'{name}' is {tuple(theirs[name].shape)} there and {tuple(ours[name].shape)} here"
        one, other = theirs[name], ours[name].to(theirs[name].dtype)
        if not torch.equal(_bits(one), _bits(other)):
            distance = (one.double() - other.double()).abs()
            return (
                f"'{name}' has {int((distance != 0).sum())} of {math.prod(one.shape)} values otherwise, "
                f"by {float(distance.max()):.1e} at most"
            )
    return None


def _bits(tensor: Tensor) -> Tensor:
    """The bytes of a tensor: a zero is not a negative zero, and NaN is NaN."""
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _origin(config: Experiment | LmExperiment, experiment: Path) -> Provenance:
    """Where the folder's weights come from; TrainingError unless training made them, to its end."""
    origin = config.provenance
    if origin is None:
        raise TrainingError(f"{experiment / CONFIG_FILE}: does not tell where the model comes from (provenance)")
    if not (experiment / WEIGHTS_FILE).is_file():
        raise TrainingError(f"{experiment / WEIGHTS_FILE}: missing, so there is nothing to compare with")
    if origin.averaged is not None:
        raise TrainingError(
            f"{experiment}: made by `asr average`; give the folder it was made from, then average again"
        )
    log = experiment / "training" / LOG_FILE
    if log.is_file() and not is_finished(log):
        raise TrainingError(f"{experiment}: the run has not ended; end it first with `{origin.command} --resume`")
    return origin


def _refuse_other_data(config: Experiment | LmExperiment, origin: Provenance, experiment: Path) -> None:
    now = kind_of(config).data_hash(config)
    if now != origin.data_hash:
        raise TrainingError(
            f"{experiment}: was trained on data with hash {origin.data_hash}, but the manifests now have {now}; "
            "make the same data again, and run from the folder that the paths in its configuration start from"
        )


def _other_environment(origin: Provenance, world: World) -> list[str]:
    began = origin.environment
    now = environment(world.device, world.size)
    return [f"{key} {began[key]} -> {value}" for key, value in changed(began, now).items()]


def _other_continuations(origin: Provenance) -> list[str]:
    """Differences of the environments in which the run was resumed from that of its start."""
    return [
        f"after step {one.step} it went on with {key} {value}"
        for one in origin.continued
        for key, value in one.changed.items()
    ]
