"""The position-wise feed-forward branch of Conformer and Transformer layers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from asr.nn.dropout import Dropout


class FeedForward(nn.Module):
    """Pre-norm residual branch (B, S, D) -> (B, S, D): LayerNorm, widen to `hidden_dim`, SiLU, narrow again.

    Whisper's has another activation, GELU.
    """

    def __init__(
        self, dim: int, hidden_dim: int, dropout: float, activation: Callable[[Tensor], Tensor] = F.silu
    ) -> None:
        super().__init__()
        self.activation = activation
        self.norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, hidden_dim)
        self.narrow = nn.Linear(hidden_dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x_BSD: Tensor) -> Tensor:
        hidden = self.dropout(self.activation(self.widen(self.norm(x_BSD))))
        branch: Tensor = self.dropout(self.narrow(hidden))
        return branch
