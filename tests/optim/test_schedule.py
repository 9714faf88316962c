"""Schedules against torch's, against their formulas, and promises all of them keep."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from asr.optim.schedule import (
    SCHEDULES,
    ConstantConfig,
    CosineConfig,
    NoamConfig,
    OneCycleConfig,
    ScheduleConfig,
    schedule,
)


def make_optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)


def rates(optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LRScheduler, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(("steps", "pct_start"), [(100, 0.3), (37, 0.25), (50, 0.0), (10, 0.5)])
def test_one_cycle_equals_torchs(steps: int, pct_start: float) -> None:
    config = OneCycleConfig(pct_start=pct_start, div_factor=10.0, final_div_factor=100.0)
    optimizer = make_optimizer()
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=steps + 1, pct_start=pct_start, div_factor=10.0, final_div_factor=100.0
    )
    factor = schedule(config, steps + 1)
    assert [factor(step) for step in range(steps)] == pytest.approx(rates(optimizer, reference, steps), rel=1e-9)


def test_cosine_after_its_warmup_equals_torchs() -> None:
    optimizer = make_optimizer()
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40, eta_min=0.1)
    factor = schedule(CosineConfig(warmup=10, final_factor=0.1), 50)
    assert [factor(step) for step in range(10, 50)] == pytest.approx(rates(optimizer, reference, 40), rel=1e-9)
    assert [factor(step) for step in range(10)] == pytest.approx([(step + 1) / 10 for step in range(10)])


def test_noam_is_the_papers_formula_scaled_to_a_peak_of_one() -> None:
    factor = schedule(NoamConfig(warmup=25), 1000)
    model_dim = 144
    paper = [model_dim**-0.5 * min(step**-0.5, step * 25**-1.5) for step in range(1, 200)]
    assert [factor(step) for step in range(199)] == pytest.approx([rate / max(paper) for rate in paper])
    assert factor(24) == 1.0


def test_constant_rises_and_stays() -> None:
    factor = schedule(ConstantConfig(warmup=4), 10)
    assert [factor(step) for step in range(7)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0]


def test_warmup_below_one_is_a_fraction_of_the_run() -> None:
    assert ConstantConfig(warmup=0.1).warmup_steps(500) == 50
    assert ConstantConfig(warmup=30).warmup_steps(500) == 30
    assert schedule(ConstantConfig(warmup=0.0), 500)(0) == 1.0


@pytest.mark.parametrize("name", SCHEDULES.names())
@pytest.mark.parametrize("total_steps", [1, 2, 3, 10, 333])
def test_factors_stay_between_zero_and_one_even_past_the_end(name: str, total_steps: int) -> None:
    factor = schedule(SCHEDULES.config(name)(), total_steps)
    factors = [factor(step) for step in range(2 * total_steps)]
    assert all(0.0 <= value <= 1.0 + 1e-12 and math.isfinite(value) for value in factors)
    assert [factor(step) for step in range(2 * total_steps)] == factors


def test_a_schedule_is_chosen_by_name() -> None:
    config = TypeAdapter(ScheduleConfig).validate_python({"name": "noam", "warmup": 100})
    assert config == NoamConfig(warmup=100)
    with pytest.raises(ValidationError, match="step_decay"):
        TypeAdapter(ScheduleConfig).validate_python({"name": "step_decay"})
