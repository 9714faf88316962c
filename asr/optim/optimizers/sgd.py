"""Stochastic gradient descent with momentum (Sutskever et al., 2013)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from asr.optim.optimizers.base import OPTIMIZERS, CommonConfig, Optimizer, parameter_groups


class SgdConfig(CommonConfig):
    """Settings of SGD, with torch's names and meaning; weight decay is part of the gradient here, as L2 loss."""

    name: Literal["sgd"] = "sgd"
    momentum: float = Field(0.9, ge=0.0, lt=1.0)  # share of the last move that goes on
    nesterov: bool = False  # needs a momentum

    @model_validator(mode="after")
    def _fits(self) -> SgdConfig:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    @property
    def state_per_weight(self) -> int:
        """The momentum, if there is any."""
        return 1 if self.momentum > 0 else 0


@OPTIMIZERS.register(SgdConfig)
class Sgd(Optimizer, torch.optim.SGD):
    """Torch's fused SGD."""

    def __init__(self, config: SgdConfig, model: nn.Module) -> None:
        groups = parameter_groups(config, model)
        super().__init__(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, fused=True)
        if config.momentum > 0:
            # torch allocates these in the first step and fills them there, unless that step is skipped
            for group in self.param_groups:
                for parameter in group["params"]:
                    self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def step_unless(self, is_skipped: Tensor) -> None:
        """As torch's GradScaler has it done: fused kernels look at `found_inf`."""
        self.found_inf = is_skipped
        self.step()
