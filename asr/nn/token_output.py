"""From model frames to log-probabilities of tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class TokenOutput(nn.Module):
    """(..., D) -> log-probabilities (..., V), at least float32; tokens in `forbidden` get probability zero."""

    def __init__(self, dim: int, vocab_size: int, forbidden: Sequence[int]) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, vocab_size)
        mask = torch.zeros(vocab_size, dtype=torch.bool)
        mask[list(forbidden)] = True
        self.forbidden: Tensor
        self.register_buffer("forbidden", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        log_probs = logits.masked_fill(self.forbidden, -math.inf).log_softmax(dim=-1)
        # the values are -inf already; this keeps the NaN gradient that torch's CTC sends to -inf from the others
        return log_probs.masked_fill(self.forbidden, -math.inf)
