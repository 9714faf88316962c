"""A neural language model as a scorer of tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asr.lm.neural.base import NeuralLm


class NeuralLmScorer:
    """`TokenScorer` of a trained network: no gradients, no dropout, float32 also where a search runs in bfloat16.

    The network moves to the device of the search.
    """

    def __init__(self, model: NeuralLm[Any]) -> None:
        self.model = model.eval()

    def init_state(self, num_rows: int, device: torch.device) -> Any:
        """The state before the start of so many rows."""
        self.model.to(device)
        return self.model.init_state(num_rows, device)

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Log-probabilities (N, V) of the token after the last ones (N,), `start` first, and the state after."""
        with torch.inference_mode(), torch.autocast(tokens.device.type, enabled=False):
            return self.model.step(tokens, state)

    def reorder(self, state: Any, index: Tensor) -> Any:
        """The state of the rows `index` (M,)."""
        return self.model.reorder(state, index)

    def concat(self, first: Any, second: Any) -> Any:
        """The rows of two states in one."""
        return self.model.concat(first, second)
