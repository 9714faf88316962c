"""`data.max_batch_seconds: auto`: as much audio a batch as fits into memory, and as helps learning.

What a step holds grows linearly with the rows of a batch, and faster than linearly with their length. So a few steps
are measured with rows as long as the shortest, the middle and the longest utterance; a line through two sizes of each
tells how many rows would fit, and the length that allows the least audio decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.bundle.bundle import Bundle
from asr.config import Experiment
from asr.errors import TrainingError
from asr.experiments.memory_limit import held_memory, memory_limit
from asr.experiments.trial import Kind, Trial
from asr.text.normalize import normalize
from asr.training.distributed import World
from asr.training.memory import is_out_of_memory
from asr.types import Utterance

MAX_SECONDS = 1200.0  # of a step; beyond, more audio a step hardly makes a gradient better
MIN_STEPS = 100  # of an epoch; a small corpus learns from many steps rather than from large ones
MARGIN = 0.7  # of the memory: kernels' own workspaces, which are not measured, took 22 % more where it was looked at
TRIAL_SECONDS = 10.0  # of audio in the smaller of two steps measured for each length; one utterance may be longer
MAX_TEXTS = 200  # from which the number of tokens a second is taken


@dataclass(frozen=True)
class Need:
    """Bytes that a step holds at its peak beyond the weights: `fixed + rows * per_row`."""

    kind: Kind
    fixed: float
    per_row: float

    def most_seconds(self, room: float) -> float:
        """The audio in a batch of this kind that fills `room` bytes; below the length of one utterance if none fits."""
        return self.kind.seconds * (room - self.fixed) / self.per_row


def with_saved_batch_seconds(config: Experiment, saved: Experiment) -> Experiment:
    """The configuration of a run to resume: `auto` becomes the number found when the run began."""
    if config.data.max_batch_seconds != "auto":
        return config
    return _with_batch_seconds(config, saved.data.batch_seconds)


def settle_batch_seconds(
    bundle: Bundle,
    rows: Sequence[Utterance],
    durations: NDArray[np.float64],
    world: World,
    say: Callable[[str], None],
) -> Experiment:
    """The bundle's configuration with a number for `auto`, found by a few trial steps on the device of this rank.

    `durations` are the most seconds that augmentation makes of each row. `say` gets the number and its reason.
    Ranks on GPUs have one each and share a batch; those on CPUs are taken to share a machine's memory.
    Raises TrainingError when memory does not even suffice for the longest utterance.
    """
    config = bundle.experiment
    limit_gb = config.training.memory_limit_gb
    limit = int(limit_gb * 1e9) if limit_gb is not None else memory_limit(world.device)
    fitting = memory_seconds(Trial(bundle, world.device), kinds(bundle, rows, durations), limit)
    fitting *= world.size if world.device.type == "cuda" else 1
    helpful = learning_seconds(float(durations.sum()), config.training.accumulation)
    seconds = round_down(max(min(fitting, helpful), float(durations.max())))
    reason = (
        f"as {limit / 1e9:.1f} GB of memory allow"
        if fitting < helpful
        else f"for {MIN_STEPS} steps an epoch and {MAX_SECONDS:.0f} s a step; {limit / 1e9:.1f} GB of memory would "
        f"allow {round_down(fitting):g} s"
    )
    say(f"data.max_batch_seconds: auto is {seconds:g} s here, {reason}")
    return _with_batch_seconds(config, seconds)


def _with_batch_seconds(config: Experiment, seconds: float) -> Experiment:
    return config.model_copy(update={"data": config.data.model_copy(update={"max_batch_seconds": seconds})})


def learning_seconds(corpus_seconds: float, accumulation: int) -> float:
    """The most audio in a batch that helps: of a hundredth of the corpus a step, and of 20 minutes at most."""
    return min(MAX_SECONDS, corpus_seconds / MIN_STEPS) / accumulation


def round_down(seconds: float) -> float:
    """To two digits, so that the same machine gives the same number."""
    unit = 10.0 ** (math.floor(math.log10(seconds)) - 1)
    return float(f"{math.floor(seconds / unit + 1e-9) * unit:.6g}")


def kinds(bundle: Bundle, rows: Sequence[Utterance], durations: NDArray[np.float64]) -> list[Kind]:
    """The shortest, the middle and the longest utterance, with as many tokens a second as the quickest speaker says."""
    encode, normalizer = bundle.tokenizer.encode, bundle.experiment.target_normalizer
    some = rows[:: -(-len(rows) // MAX_TEXTS)]
    tokens_per_second = max(len(encode(normalize(row.text, normalizer))) / row.duration for row in some)
    frame_seconds = bundle.frontend.frame_seconds
    return [
        Kind(seconds, max(1, round(seconds / frame_seconds)), math.ceil(seconds * tokens_per_second))
        for seconds in sorted({float(durations.min()), float(np.median(durations)), float(durations.max())})
    ]


def need(trial: Trial, kind: Kind) -> Need:
    """What a step with rows of this kind holds; two sizes are measured, after a smaller one that warms up.

    TrainingError if even these do not fit.
    """
    rows = max(1, round(TRIAL_SECONDS / kind.seconds))
    try:
        trial.step(kind, 1)
        few, many = (trial.peak(kind, size) for size in (rows, 2 * rows))
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"{2 * rows} utterances of {kind.seconds:.1f} s do not fit into memory, so nothing can be measured; set "
            "data.max_batch_seconds to a number, or make the encoder smaller"
        ) from error
    return Need(kind, 2 * few - many, (many - few) / rows)


def memory_seconds(trial: Trial, lengths: Sequence[Kind], limit: int) -> float:
    """The most audio in a batch so that a step on one device stays below `limit` bytes.

    TrainingError if the longest utterance alone does not.
    """
    with trial.ready():
        room = MARGIN * limit - held_memory(trial.device) - trial.optimizer_bytes
        needs = [need(trial, kind) for kind in lengths]
        seconds = min(one.most_seconds(room) for one in needs)
        longest = needs[-1]
        tightest = min(needs, key=lambda one: one.most_seconds(room)).kind
        while (
            trial.device.type == "cuda"  # elsewhere the system ends a process rather than refuse memory
            and seconds >= longest.kind.seconds
            and not trial.fits(tightest, int(seconds / tightest.seconds))
        ):
            seconds *= 0.9
        if seconds < longest.kind.seconds:
            missing = (longest.fixed + longest.per_row - room) / MARGIN / 1e9
            raise TrainingError(
                f"an utterance of {longest.kind.seconds:.1f} s alone needs {missing:.1f} GB more than the "
                f"{limit / 1e9:.1f} GB of memory allowed; lower data.max_duration, make the encoder smaller, or raise "
                "training.memory_limit_gb"
            )
    return seconds
