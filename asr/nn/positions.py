"""Where a frame or token stands: sinusoids for absolute and relative positions, rotations for queries and keys.

S frames, D model dim, E dim of one attention head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MAX_WAVELENGTH = 10000.0  # of the slowest sinusoid, over 2 pi


def angles(positions: Tensor, dim: int) -> Tensor:
    """Positions (N,) floating -> angles (N, dim / 2) of Vaswani et al. 2017, from fast to slow."""
    exponents = torch.arange(0, dim, 2, device=positions.device, dtype=positions.dtype) / dim
    return positions[:, None] * MAX_WAVELENGTH**-exponents


def sinusoids(positions: Tensor, dim: int) -> Tensor:
    """Positions (N,) floating -> sines and cosines (N, dim)."""
    angle = angles(positions, dim)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


class RotaryPositions(nn.Module):
    """Cosines and signed sines (2, S, E) that turn queries and keys by their position (Su et al. 2021).

    For `asr.nn.kernels.rotate`.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        assert head_dim % 2 == 0, "rotary positions turn pairs of values: dim / num_heads must be even"
        self.head_dim = head_dim

    def forward(self, x_BSD: Tensor) -> Tensor:
        """The table for the frames of `x`; at least float32, since bfloat16 cannot tell far positions apart."""
        return self.at(torch.arange(x_BSD.shape[1], device=x_BSD.device, dtype=_exact(x_BSD.dtype)))

    def at(self, positions: Tensor) -> Tensor:
        """The table (2, N, E) for positions (N,) floating."""
        angle = angles(positions, self.head_dim)
        cos, sin = angle.cos(), angle.sin()
        return torch.stack([torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)])


class RelativePositions(nn.Module):
    """Sinusoids (2 S - 1, D) of the distances query - key, from S - 1 down to 1 - S (Dai et al. 2019)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        assert dim % 2 == 0, "sinusoids come in pairs: dim must be even"
        self.dim = dim

    def forward(self, x_BSD: Tensor) -> Tensor:
        """The table for the frames of `x`."""
        num_frames = x_BSD.shape[1]
        distances = torch.arange(num_frames - 1, -num_frames, -1, device=x_BSD.device, dtype=_exact(x_BSD.dtype))
        return sinusoids(distances, self.dim)


def _exact(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
