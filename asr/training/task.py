"""The protocol between trainer and task: batches, a loss, a measure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from torch import Tensor, nn

from asr.system.runtime import derive_rng
from asr.training.metrics import Metric, Unit
from asr.types import Unreadable


class NamedRows(Protocol):
    """The part of a batch that the trainer reads."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The utterance of each row; empty where the other ranks have all rows of a batch, or none can be read."""

    @property
    def unreadable(self) -> Sequence[Unreadable]:
        """The utterances left out because their audio cannot be read."""


@dataclass(frozen=True)
class StepDraws:
    """Random draws that belong to an optimiser step and not to an utterance: a chunk size, a layer to leave out.

    They follow from (seed, step, purpose), so they are the same on all ranks, in all batches of the step, in the parts
    of a batch that did not fit into memory, and after a resume.
    """

    seed: int
    step: int  # optimiser steps before this one

    def rng(self, purpose: str) -> np.random.Generator:
        """A fresh generator for one purpose; each call with the same one draws the same numbers."""
        return derive_rng(self.seed, "step", self.step, "all", purpose)


@dataclass(frozen=True)
class LossOutput:
    """The loss of one batch. Sums, to be divided by the count of the whole optimiser step."""

    total: Tensor  # () with gradient
    per_utterance: Tensor  # (B,) detached share of each row in the total; not finite where a row went wrong
    parts: dict[str, Tensor] = field(default_factory=dict)  # detached () sums before weighting, by `Task.loss_parts`


AnyBatch = TypeVar("AnyBatch", bound=NamedRows)


class Task(Protocol[AnyBatch]):
    """A network, its data and its loss.

    With several ranks, `batches` and `count` are of a rank's own share; `num_batches` and `validate` are the same on
    all of them.
    """

    metric: Metric  # what `validate` measures, and by which weights are chosen
    other_metrics: Sequence[Metric]  # measured and shown besides
    unit: Unit  # of `amount`
    item: str  # of `count`: "utterance"

    @property
    def loss_parts(self) -> Sequence[str]:
        """What a loss consists of, the keys of `LossOutput.parts` in the log's order; the same on all ranks."""

    @property
    def model(self) -> nn.Module:
        """The network to train, on its device."""

    @property
    def waited_seconds(self) -> float:
        """How long the trainer has waited for batches that were not ready, since the epoch began."""

    def batches(self, epoch: int, start: int) -> Iterable[AnyBatch]:
        """The batches of an epoch from position `start`, already on the right device."""

    def num_batches(self, epoch: int) -> int:
        """How many batches an epoch has."""

    def loss(self, batch: AnyBatch, draws: StepDraws) -> LossOutput:
        """Loss summed over the items of a batch, whose number is `count`.

        What is random for the whole step comes from `draws`, dropout from torch's default generator, which is seeded
        anew for every batch.
        """

    def count(self, batch: AnyBatch) -> int:
        """What the summed loss of a step is divided by: utterances, or the tokens that a language model predicts."""

    def amount(self, batch: AnyBatch) -> float:
        """How much there is to learn from in a batch, for the throughput shown."""

    def num_utterances(self, batch: AnyBatch) -> int:
        """In how many parts a batch can be split; views of an utterance stay together."""

    def split(self, batch: AnyBatch, sizes: Sequence[int]) -> list[AnyBatch]:
        """A batch in parts of so many utterances, in order; `sizes` sum to all of them."""

    def validate(self) -> dict[str, float]:
        """Measures on the dev set, `metric` among them. All ranks call it, and share the work."""

    def keep(self, weights: dict[str, Tensor]) -> None:
        """Make these the weights of the model folder. Rank 0 alone calls it."""
