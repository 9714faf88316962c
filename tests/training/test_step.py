"""Steps leave the host alone: a GPU that is asked for a number every step stands still every step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from asr.config import TrainingConfig
from asr.optim.averaging import Ema
from asr.optim.optimizers.adamw import AdamW, AdamWConfig
from asr.system.runtime import derive_seed
from asr.training.distributed import ALONE, World
from asr.training.step import Stepper
from asr.training.task import LossOutput, StepDraws
from asr.types import Batch


class NumberReadError(Exception):
    """The host asked for a tensor's value."""


class RefuseReads(TorchDispatchMode):
    """Raises where a GPU would have to be waited for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            raise NumberReadError
        return func(*args, **(kwargs or {}))


class Squares:
    """A task that is a loss alone, with a part that is twice as large."""

    loss_parts = ("double",)

    def __init__(self) -> None:
        self.model = nn.Linear(3, 1)
        self.seeds: list[int] = []  # of dropout, for each batch
        self.drawn: list[float] = []  # of the step, for each batch

    def loss(self, batch: Batch, draws: StepDraws) -> LossOutput:
        self.seeds.append(torch.initial_seed())
        self.drawn.append(draws.rng("chunk").random())
        losses = self.model(batch.features).square().sum((1, 2))
        return LossOutput(losses.sum(), losses.detach(), {"double": 2 * losses.detach().sum()})

    def num_utterances(self, batch: Batch) -> int:
        return len(batch.ids)


def batch_of(features: Tensor) -> Batch:
    lens = torch.full((len(features),), features.shape[1])
    ids = tuple(map(str, range(len(features))))
    return Batch(ids, features, lens, torch.zeros(len(features), 0, dtype=torch.int64), torch.zeros_like(lens))


def stepper_for(task: Squares, world: World = ALONE) -> Stepper[Batch]:
    optimizer = AdamW(AdamWConfig(lr=0.1), task.model)
    return Stepper(task, TrainingConfig(), 1, optimizer, Ema(task.model, 0.9), world)


@pytest.mark.parametrize("value", [1.0, torch.nan])
def test_the_host_reads_no_number_in_a_step_be_it_finite_or_not(value: float) -> None:
    stepper = stepper_for(Squares())
    with RefuseReads():
        with pytest.raises(NumberReadError):
            float(torch.ones(()))
        outcome = stepper.take(0, [batch_of(torch.full((2, 4, 3), value))], 2)
    assert bool(outcome.is_skipped) == (value != value)


def test_a_step_that_is_skipped_changes_neither_weights_nor_moments_nor_average() -> None:
    task, other = Squares(), Squares()
    other.model.load_state_dict(task.model.state_dict())
    good, bad = batch_of(torch.randn(2, 4, 3)), batch_of(torch.full((2, 4, 3), torch.inf))
    one, two = stepper_for(task), stepper_for(other)
    for step in range(4):
        one.take(step, [good], 2)
        two.take(step, [good], 2)
        two.take(step, [good, bad], 4)
    for name, value in one.ema.state_dict().items():
        assert torch.equal(value, two.ema.state_dict()[name]), name
    assert all(torch.equal(*pair) for pair in zip(task.model.parameters(), other.model.parameters(), strict=True))


def test_dropout_differs_by_rank_and_is_on_the_first_as_without_others() -> None:
    batch = batch_of(torch.randn(2, 4, 3))
    seeds = []
    for rank in range(3):
        task = Squares()
        stepper_for(task, World(rank=rank)).take(5, [batch, batch], 4)
        seeds += task.seeds
    assert seeds[:2] == [derive_seed(1, "step", 5, 0), derive_seed(1, "step", 5, 1)]
    assert len(set(seeds)) == 6


def test_draws_of_a_step_are_equal_in_all_batches_on_all_ranks_and_differ_by_step_and_purpose() -> None:
    batch = batch_of(torch.randn(2, 4, 3))
    drawn = []
    for rank in range(3):
        task = Squares()
        stepper_for(task, World(rank=rank)).take(5, [batch, batch], 4)
        drawn += task.drawn
    assert len(drawn) == 6
    assert len(set(drawn)) == 1
    others = [StepDraws(1, 6).rng("chunk"), StepDraws(2, 5).rng("chunk"), StepDraws(1, 5).rng("layer")]
    assert len({drawn[0], *(rng.random() for rng in others)}) == 4
