"""What an optimiser is here: one of torch's, with promises to the step, to checkpoints and to estimates of memory.

- `step_unless` decides on the device whether anything changes, so that no step waits for a GPU.
- `state_tensors` is all that an optimiser remembers; loaded into a new one, it makes the same steps to the last bit.
- `CommonConfig.state_per_weight` says how much that is before anything is allocated.

`lr` in `param_groups` is the peak rate at first, and is set by the schedule before every step. The contract tests hold
every registered optimiser to this.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from asr.errors import ConfigError
from asr.registry import NamedConfig, Registry, did_you_mean

ENCODER_LAYER = re.compile(r"encoder\.layers\.(\d+)\.")


class CommonConfig(NamedConfig):
    """Settings of every optimiser."""

    lr: float = Field(1e-3, gt=0.0)  # the peak, which a schedule's factor multiplies
    weight_decay: float = Field(0.01, ge=0.0)
    decay_all: bool = False  # decay norms, biases and embeddings, too
    lr_scale: dict[str, PositiveFloat] = Field(default_factory=dict)  # factor on `lr` by part: {encoder: 0.1}
    layer_decay: float = Field(1.0, gt=0.0, le=1.0)  # factor from each encoder layer to the one below it

    @property
    def state_per_weight(self) -> int:
        """How many numbers an optimiser keeps for each weight."""
        raise NotImplementedError


class Optimizer(torch.optim.Optimizer):
    """A torch optimiser whose step can be skipped by a decision made on the device."""

    def step_unless(self, is_skipped: Tensor) -> None:
        """Update the weights by their gradients; where `is_skipped` () float32 is 1, leave weights and state alone.

        Steps that follow a skipped one are, to the last bit, those that would have come in its place. The host does
        not read the tensor.
        """
        raise NotImplementedError

    def state_tensors(self) -> dict[str, Tensor]:
        """The state as named tensors (`3.exp_avg`), numbered in the order of the parameters."""
        state: dict[int, dict[str, Any]] = self.state_dict()["state"]
        return {f"{index}.{name}": tensor for index, entry in state.items() for name, tensor in entry.items()}

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `state_tensors`; learning rates are not state."""
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = tensor
        self.load_state_dict({"state": state, "param_groups": self.state_dict()["param_groups"]})


OPTIMIZERS: Registry[type[Any]] = Registry("optimizer")


def parameter_groups(config: CommonConfig, model: nn.Module) -> list[dict[str, Any]]:
    """The trainable parameters in groups: for each factor on the learning rate one with weight decay and one without.

    Norms, biases and embeddings get none unless `decay_all`: decay pulls them off their scale and regularises nothing.
    ConfigError if `lr_scale` names what is no part of the model.
    """
    embeddings = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    names = [name for name, _ in model.named_parameters()]
    factors = lr_factors(config, names)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {(1.0, True): [], (1.0, False): []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_bias = "bias" in name.rpartition(".")[2]  # relative attention has biases of two dimensions
            keep = parameter.ndim < 2 or is_bias or id(parameter) in embeddings
            is_decayed = config.decay_all or not keep
            groups.setdefault((factors[name], is_decayed), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": config.weight_decay if is_decayed else 0.0, "lr": factor * config.lr}
        for (factor, is_decayed), parameters in groups.items()
        if parameters or factor == 1.0
    ]


def lr_factors(config: CommonConfig, names: Sequence[str]) -> dict[str, float]:
    """What multiplies the learning rate of each parameter, by name; of nested parts in `lr_scale` the innermost counts.

    With `layer_decay`, each encoder layer learns so much slower than the one above it, and what stands before the
    layers slower than the first (Howard and Ruder 2018, https://arxiv.org/abs/1801.06146, section 3.2).
    """
    for part in config.lr_scale:
        if not any(_is_under(name, part) for name in names):
            known = {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 1)}
            raise ConfigError(f"optimizer.lr_scale: '{part}' is no part of the model{did_you_mean(part, known)}")
    layers = {name: int(match[1]) for name in names if (match := ENCODER_LAYER.match(name))}
    num_layers = max(layers.values(), default=-1) + 1
    factors = {}
    above = 0  # layers that a parameter has above it
    for name in names:
        if name in layers:
            above = num_layers - 1 - layers[name]
        elif _is_under(name, "encoder"):
            above = num_layers if not any(one in factors for one in layers) else 0
        else:
            above = 0
        parts = [part for part in config.lr_scale if _is_under(name, part)]
        scale = config.lr_scale[max(parts, key=len)] if parts else 1.0
        factors[name] = scale * config.layer_decay**above
    return factors


def _is_under(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")
