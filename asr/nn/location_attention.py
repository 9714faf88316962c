"""Location-aware attention (Chorowski et al. 2015): the weights of one step depend on those of the step before."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asr.lengths import padding_mask


class LocationAttention(nn.Module):
    """Additive attention of one query a row over frames, which sees its previous weights through a convolution.

    B rows, S frames, M memory dim, A attention dim.
    """

    def __init__(self, query_dim: int, memory_dim: int, dim: int, num_filters: int, kernel_size: int) -> None:
        super().__init__()
        assert kernel_size % 2 == 1, "an even kernel has no middle"
        self.query = nn.Linear(query_dim, dim)
        self.key = nn.Linear(memory_dim, dim, bias=False)
        self.filters = nn.Conv1d(1, num_filters, kernel_size, padding=kernel_size // 2, bias=False)
        self.location = nn.Linear(num_filters, dim, bias=False)
        self.score = nn.Linear(dim, 1, bias=False)

    def keys(self, memory_BSM: Tensor) -> Tensor:
        """The frames' part of the scores (B, S, A); computed once, used for every query."""
        keys: Tensor = self.key(memory_BSM)
        return keys

    def forward(
        self, query: Tensor, keys: Tensor, memory: Tensor, lens: Tensor, previous: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Query (B, Q) and previous weights (B, S) -> context (B, M) and weights (B, S); zeros where `lens` is 0."""
        padding = padding_mask(lens, keys.shape[1])
        location = self.location(self.filters(previous[:, None]).transpose(1, 2))
        scores = self.score(torch.tanh(keys + self.query(query)[:, None] + location)).squeeze(-1)
        scores = scores.masked_fill(padding, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1).masked_fill(padding, 0.0)
        return (weights[:, None] @ memory).squeeze(1), weights


def uniform_weights(lens: Tensor, num_frames: int, dtype: torch.dtype) -> Tensor:
    """The weights (B, S) before the first step: the same for every valid frame."""
    return (~padding_mask(lens, num_frames)).to(dtype) / lens.clamp(min=1)[:, None]
