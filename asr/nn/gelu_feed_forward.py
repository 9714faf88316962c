"""The feed-forward branch of Whisper's layers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from asr.nn.dropout import Dropout


class GeluFeedForward(nn.Module):
    """Pre-norm residual branch (B, S, D) -> (B, S, D): LayerNorm, widen to `hidden_dim`, exact GELU, narrow again."""

    def __init__(self, dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, hidden_dim)
        self.narrow = nn.Linear(hidden_dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x_BSD: Tensor) -> Tensor:
        branch: Tensor = self.dropout(self.narrow(F.gelu(self.widen(self.norm(x_BSD)))))
        return branch
