"""The convolution branch of a Conformer layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.nn.dropout import Dropout
from asr.nn.kernels import convolve_depthwise


class DepthwiseConvolution(nn.Module):
    """One filter per channel along time, length kept: (B, S, D) -> (B, S, D)."""

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        assert kernel_size % 2 == 1, "an even kernel has no middle"
        self.weight = nn.Parameter(torch.empty(dim, 1, 1, kernel_size))
        self.bias = nn.Parameter(torch.zeros(dim))
        nn.init.uniform_(self.weight, -1 / math.sqrt(kernel_size), 1 / math.sqrt(kernel_size))

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Frames outside the tensor count as zero; padding inside it must be zero already."""
        return convolve_depthwise(x_BSD, self.weight, self.bias)


class ConvolutionModule(nn.Module):
    """Pre-norm residual branch (B, S, D) -> (B, S, D): gate, depthwise convolution, LayerNorm, SiLU, mix channels.

    As in Gulati et al. 2020, but normalised over channels: BatchNorm would let utterances of a batch see each other.
    """

    def __init__(self, dim: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.pointwise_in = nn.Linear(dim, 2 * dim)
        self.depthwise = DepthwiseConvolution(dim, kernel_size)
        self.depthwise_norm = nn.LayerNorm(dim)
        self.pointwise_out = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x_BSD: Tensor, padding: Tensor | None) -> Tensor:
        """`padding` (B, S) is True beyond each length; None when every frame is valid."""
        x = F.glu(self.pointwise_in(self.norm(x_BSD)), dim=-1)
        if padding is not None:
            x = x.masked_fill(padding[..., None], 0.0)  # else padding leaks into valid frames
        x = F.silu(self.depthwise_norm(self.depthwise(x)))
        branch: Tensor = self.dropout(self.pointwise_out(x))
        return branch
