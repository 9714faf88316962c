"""Learning-rate schedules: pure functions from a step to the factor that multiplies the configured rate.

`step` counts the optimiser steps already taken, so the first update asks for step 0 and the last for total_steps - 1.
A schedule keeps no state: resuming needs the step alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import Field

from asr.registry import NamedConfig, Registry


class Schedule(Protocol):
    """What a schedule does."""

    def __init__(self, config: NamedConfig, total_steps: int) -> None: ...

    def __call__(self, step: int) -> float:
        """Factor in [0, 1] for the update after `step` updates."""
        ...


SCHEDULES: Registry[type[Schedule]] = Registry("schedule")


class WarmupConfig(NamedConfig):
    """A schedule that starts with a linear rise to the peak."""

    warmup: float = Field(0.1, ge=0.0)  # below 1 a fraction of all steps, otherwise a number of steps

    def warmup_steps(self, total_steps: int) -> int:
        """Length of the rise; the peak is the rise's last step."""
        return round(self.warmup * total_steps if self.warmup < 1.0 else self.warmup)


class ConstantConfig(WarmupConfig):
    """The peak rate all the time after the warm-up."""

    name: Literal["constant"] = "constant"


@SCHEDULES.register(ConstantConfig)
class Constant:
    """Linear warm-up, then 1."""

    def __init__(self, config: ConstantConfig, total_steps: int) -> None:
        self.warmup_steps = config.warmup_steps(total_steps)

    def __call__(self, step: int) -> float:
        return _rise(step, self.warmup_steps)


class NoamConfig(WarmupConfig):
    """Inverse square root decay (Vaswani et al., 2017)."""

    name: Literal["noam"] = "noam"


@SCHEDULES.register(NoamConfig)
class Noam:
    """Linear warm-up, then decay with the inverse square root of the step; the peak is 1 whatever the model's size."""

    def __init__(self, config: NoamConfig, total_steps: int) -> None:
        self.warmup_steps = max(1, config.warmup_steps(total_steps))

    def __call__(self, step: int) -> float:
        return min(_rise(step, self.warmup_steps), math.sqrt(self.warmup_steps / (step + 1)))


class CosineConfig(WarmupConfig):
    """Half a cosine down to `final_factor` (Loshchilov and Hutter, 2017)."""

    name: Literal["cosine"] = "cosine"
    final_factor: float = Field(0.0, ge=0.0, le=1.0)  # of the learning rate that is left at the end


@SCHEDULES.register(CosineConfig)
class Cosine:
    """Linear warm-up, then half a cosine over the remaining steps, as torch's CosineAnnealingLR."""

    def __init__(self, config: CosineConfig, total_steps: int) -> None:
        self.warmup_steps = config.warmup_steps(total_steps)
        self.decay_steps = max(1, total_steps - self.warmup_steps)
        self.final_factor = config.final_factor

    def __call__(self, step: int) -> float:
        if step < self.warmup_steps:
            return _rise(step, self.warmup_steps)
        return _cosine(1.0, self.final_factor, (step - self.warmup_steps) / self.decay_steps)


class OneCycleConfig(NamedConfig):
    """One cycle (Smith and Topin, 2018), with the names and meaning of torch's OneCycleLR."""

    name: Literal["one_cycle"] = "one_cycle"
    pct_start: float = Field(0.3, ge=0.0, lt=1.0)  # fraction of all steps spent rising
    div_factor: float = Field(25.0, ge=1.0)  # the first factor is 1 / div_factor
    final_div_factor: float = Field(1e4, ge=1.0)  # the last one is the first / final_div_factor


@SCHEDULES.register(OneCycleConfig)
class OneCycle:
    """Half a cosine up to the peak and half a cosine down to nearly nothing."""

    def __init__(self, config: OneCycleConfig, total_steps: int) -> None:
        self.first_factor = 1.0 / config.div_factor
        self.final_factor = self.first_factor / config.final_div_factor
        self.peak_step = config.pct_start * total_steps - 1.0  # may lie between two steps or before the first
        self.last_step = total_steps - 1.0

    def __call__(self, step: int) -> float:
        if step <= self.peak_step:
            return _cosine(self.first_factor, 1.0, step / self.peak_step if self.peak_step else 1.0)
        return _cosine(1.0, self.final_factor, (step - self.peak_step) / (self.last_step - self.peak_step))


if TYPE_CHECKING:
    ScheduleConfig = NamedConfig
else:
    ScheduleConfig = SCHEDULES.config_union()


def schedule(config: ScheduleConfig, total_steps: int) -> Schedule:
    """The configured schedule for a run of `total_steps` >= 1 optimiser steps."""
    return SCHEDULES.part(config.name)(config, total_steps)


def _rise(step: int, warmup_steps: int) -> float:
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0


def _cosine(start: float, end: float, progress: float) -> float:
    """Half a cosine from `start` to `end`, which it keeps when a run is longer than planned."""
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
