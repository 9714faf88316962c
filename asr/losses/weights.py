"""The training loss: the losses of all heads in one weighted sum.

    total = sum over heads of weight * own loss
    own loss of a CTC head with losses between encoder layers, share s:  (1 - s) * ctc + s * mean of the layers
    consistency_weight * consistency comes on top

InterCTC: Lee and Watanabe, 2021; joint CTC/attention: Watanabe et al., 2017; consistency: Yao et al., 2024.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from pydantic import Field
from torch import Tensor

from asr.errors import ConfigError
from asr.registry import Config, did_you_mean

INTERMEDIATE = "intermediate"
CONSISTENCY = "consistency"


class LossConfig(Config):
    """Weights of the heads' losses and of their helpers."""

    weights: dict[str, float] = Field(default_factory=dict)  # by head id; a model of one head needs none
    label_smoothing: float = Field(0.1, ge=0.0, lt=1.0)  # of attention decoders
    intermediate_weight: float = Field(0.3, ge=0.0, lt=1.0)  # share of intermediate CTC where a head has it
    consistency_weight: float = Field(0.0, ge=0.0)  # above 0 a batch holds two views of each utterance; paper: 0.2

    @property
    def num_views(self) -> int:
        """How many differently masked views of each utterance a batch holds."""
        return 2 if self.consistency_weight > 0.0 else 1

    def check(self, heads: Collection[str], *, has_ctc: bool) -> None:
        """ConfigError unless every head has a weight above 0 and nothing else has one."""
        for name, weight in self.weights.items():
            if name not in heads:
                raise ConfigError(f"loss.weights names '{name}', but no head is called so{did_you_mean(name, heads)}")
            if weight <= 0.0:
                raise ConfigError(f"loss.weights: head '{name}' would never learn; give it a weight above 0")
        missing = [head for head in heads if head not in self.weights]
        if len(heads) > 1 and missing:
            raise ConfigError(f"loss.weights: head '{missing[0]}' has none; give every head a weight, for example 0.5")
        if self.consistency_weight > 0.0 and not has_ctc:
            raise ConfigError("loss.consistency_weight needs a CTC head, but the model has none; set it to 0")

    def weight_of(self, head: str) -> float:
        """The weight of a head's own loss."""
        return self.weights.get(head, 1.0)


def weighted_sum(losses: Mapping[str, Mapping[str, Tensor]], config: LossConfig) -> Tensor:
    """The total loss (B,) of every row, from the losses of each head by name; a head's own has the empty name."""
    weighted = []
    for head, parts in losses.items():
        weight, share = config.weight_of(head), config.intermediate_weight if INTERMEDIATE in parts else 0.0
        factors = {"": weight * (1.0 - share), INTERMEDIATE: weight * share, CONSISTENCY: config.consistency_weight}
        weighted += [factors[name] * loss for name, loss in parts.items()]
    return torch.stack(weighted).sum(0)
