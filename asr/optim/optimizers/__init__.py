"""Optimisers by name; one new file here is one new optimiser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from asr.optim.optimizers.base import OPTIMIZERS, CommonConfig, Optimizer
from asr.registry import import_siblings

import_siblings(__name__, __path__)

if TYPE_CHECKING:
    OptimizerConfig = CommonConfig
else:
    OptimizerConfig = OPTIMIZERS.config_union(default="adamw")

__all__ = ["OPTIMIZERS", "Optimizer", "OptimizerConfig", "build_optimizer"]


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> Optimizer:
    """The configured optimiser of the parameters that are trainable now."""
    optimizer: Optimizer = OPTIMIZERS.part(config.name)(config, model)
    return optimizer
