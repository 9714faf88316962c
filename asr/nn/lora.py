"""Low-rank adaptation (Hu et al. 2021, https://arxiv.org/abs/2106.09685): a linear layer keeps its weights and learns a
change of them that is the product of two small matrices.

Tensors have the names that PEFT gives them, so that adapters go both ways.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from asr.errors import ConfigError
from asr.nn.dropout import Dropout
from asr.registry import Config, did_you_mean
from asr.system.runtime import derive_seed

BASE, DOWN, UP = "base_layer", "lora_A", "lora_B"


class LoraConfig(Config):
    """Which linear layers learn a change of low rank; all other weights stay as they are."""

    rank: PositiveInt = 8  # of the change
    alpha: float = Field(16.0, gt=0)  # the change is multiplied by alpha / rank
    targets: tuple[str, ...] = Field(
        ("query_key_value", "query", "key_value", "out", "widen", "narrow"), min_length=1
    )  # names of linear layers, or the ends of their paths: attention and feed-forward layers
    dropout: float = Field(0.0, ge=0.0, lt=1.0)  # of what goes into the change
    parts: tuple[str, ...] = ()  # that learn in full besides, as in `freeze.parts`: a new head


class LoraLinear(nn.Module):
    """(..., in) -> (..., out): x W + x A B alpha / rank, B being 0 at first."""

    def __init__(self, base: nn.Linear, config: LoraConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.Linear(base.in_features, config.rank, bias=False)
        self.lora_B = nn.Linear(config.rank, base.out_features, bias=False)
        with torch.no_grad():
            bound = 1 / math.sqrt(base.in_features)
            self.lora_A.weight.uniform_(-bound, bound, generator=generator)
            self.lora_B.weight.zero_()
        self.dropout = Dropout(config.dropout)
        self.scale = config.alpha / config.rank

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        changed: Tensor = self.lora_B(self.lora_A(self.dropout(x)))
        kept: Tensor = self.base_layer(x)
        return kept + self.scale * changed

    @property
    def weight(self) -> Tensor:
        """(out, in) with the change, for code that multiplies by itself."""
        return self.base_layer.weight + self.scale * self.lora_B.weight @ self.lora_A.weight

    @property
    def bias(self) -> Tensor | None:
        """(out,), which does not change."""
        return self.base_layer.bias


def add_lora(model: nn.Module, config: LoraConfig, seed: int) -> None:
    """Put a LoraLinear in the place of each target; everything but their matrices and `parts` stops learning.

    ConfigError for a target that is no linear layer of the model, and for a part that it does not have.
    """
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    wanted = {name for name in linears if any(_is_named(name, target) for target in config.targets)}
    for target in config.targets:
        if target not in LoraConfig().targets and not any(_is_named(name, target) for name in linears):
            raise ConfigError(f"lora.targets: '{target}' is no linear layer of the model{_near(target, linears)}")
    if not wanted:
        raise ConfigError(f"lora.targets: the model has none of {', '.join(config.targets)}{_near('', linears)}")
    names = [name for name, _ in model.named_parameters()]
    for part in config.parts:
        if not any(name == part or name.startswith(f"{part}.") for name in names):
            known = {".".join(name.split(".")[:depth]) for name in names for depth in (1, 2)}
            raise ConfigError(f"lora.parts: '{part}' is no part of the model{did_you_mean(part, known)}")
    for name, parameter in model.named_parameters():
        learns = any(name == part or name.startswith(f"{part}.") for part in config.parts)
        parameter.requires_grad_(learns)
    for name in sorted(wanted):
        generator = torch.Generator().manual_seed(derive_seed(seed, "lora", name))
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, LoraLinear(linears[name], config, generator))


def lora_layers(model: nn.Module) -> dict[str, LoraLinear]:
    """The changed layers by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a model with its changes added to the weights, under the names that they have without."""
    layers = lora_layers(model)
    if not layers:
        return model.state_dict()
    tensors = {}
    for name, tensor in model.state_dict().items():
        owner, _, inner = name.rpartition(f".{BASE}.")
        if owner in layers:
            tensors[f"{owner}.{inner}"] = layers[owner].weight.detach() if inner == "weight" else tensor
        elif name.rpartition(".")[0].rpartition(".")[2] not in (DOWN, UP):
            tensors[name] = tensor
    return tensors


def learnt_state(model: nn.Module, parts: Iterable[str]) -> dict[str, Tensor]:
    """What was learnt: the small matrices, and the tensors of parts that learn in full."""
    prefixes = tuple(parts)
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.rpartition(".")[0].rpartition(".")[2] in (DOWN, UP)
        or any(name == part or name.startswith(f"{part}.") for part in prefixes)
    }


def _is_named(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _near(target: str, linears: Iterable[str]) -> str:
    return did_you_mean(target, {name.rpartition(".")[2] for name in linears})
