"""AdamW: Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from asr.optim.optimizers.base import OPTIMIZERS, CommonConfig, Optimizer, parameter_groups


class AdamWConfig(CommonConfig):
    """Settings of AdamW."""

    name: Literal["adamw"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.98)  # decay of the means of gradients and of their squares
    eps: float = Field(1e-8, gt=0.0)  # added to the denominator

    @property
    def state_per_weight(self) -> int:
        """Two moments."""
        return 2


@OPTIMIZERS.register(AdamWConfig)
class AdamW(Optimizer, torch.optim.AdamW):
    """Torch's fused AdamW."""

    def __init__(self, config: AdamWConfig, model: nn.Module) -> None:
        super().__init__(parameter_groups(config, model), lr=config.lr, betas=config.betas, eps=config.eps, fused=True)

    def step_unless(self, is_skipped: Tensor) -> None:
        """As torch's GradScaler has it done: fused kernels look at `found_inf`."""
        self.found_inf = is_skipped
        self.step()
