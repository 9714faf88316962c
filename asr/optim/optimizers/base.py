"""What an optimiser is here: one of torch's, with promises to the step, to checkpoints and to estimates of memory.

- `step_unless` decides on the device whether anything changes, so that no step waits for a GPU.
- `state_tensors` is all that an optimiser remembers; loaded into a new one, it makes the same steps to the last bit.
- `CommonConfig.state_per_weight` says how much that is before anything is allocated.

`lr` in `param_groups` is the peak rate at first, and is set by the schedule before every step. The contract tests hold
every registered optimiser to this.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from asr.registry import NamedConfig, Registry


class CommonConfig(NamedConfig):
    """Settings of every optimiser."""

    lr: float = Field(1e-3, gt=0.0)  # the peak, which a schedule's factor multiplies
    weight_decay: float = Field(0.01, ge=0.0)
    decay_all: bool = False  # decay norms, biases and embeddings, too

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
    """The trainable parameters in two groups: with weight decay and without.

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
    return [{"params": decayed, "weight_decay": config.weight_decay}, {"params": kept, "weight_decay": 0.0}]
