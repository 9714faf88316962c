"""AdamW (Loshchilov and Hutter, 2019) with weight decay only where it helps."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from asr.registry import Config


class OptimizerConfig(Config):
    """Settings of AdamW; `lr` is the peak that a schedule's factor multiplies."""

    lr: float = Field(1e-3, gt=0.0)
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = Field(1e-8, gt=0.0)
    weight_decay: float = Field(0.01, ge=0.0)
    decay_all: bool = False  # decay norms, biases and embeddings, too


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.AdamW:
    """AdamW over the trainable parameters in two groups: with weight decay and without.

    Norms, biases and embeddings get none unless `decay_all`: decay pulls them off their scale and regularises nothing.
    """
    embeddings = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_bias = "bias" in name.rpartition(".")[2]  # relative attention has biases of two dimensions
            keep = parameter.ndim < 2 or is_bias or id(parameter) in embeddings
            (kept if keep and not config.decay_all else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
