"""The convolution branch of a Conformer layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.nn.dropout import Dropout


class DepthwiseConvolution(nn.Module):
    """One filter per channel along time, length kept: (B, S, D) -> (B, S, D).

    A (B, S, D) tensor seen as an image of height 1 in channels-last layout needs no copy, and torch's 2-D kernel for
    that layout is about ten times as fast as the 1-D one for (B, D, S). On CPU it runs in float32 even if weights or
    autocast are bfloat16: that kernel is slower, and for some lengths it never comes back (torch 2.13, oneDNN).
    """

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        assert kernel_size % 2 == 1, "an even kernel has no middle"
        self.weight = nn.Parameter(torch.empty(dim, 1, 1, kernel_size))
        self.bias = nn.Parameter(torch.zeros(dim))
        nn.init.uniform_(self.weight, -1 / math.sqrt(kernel_size), 1 / math.sqrt(kernel_size))

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Frames outside the tensor count as zero; padding inside it must be zero already."""
        if x_BSD.device.type != "cpu":
            return self._convolve(x_BSD, self.weight, self.bias)
        exact = torch.promote_types(self.weight.dtype, torch.float32)
        with torch.autocast("cpu", enabled=False):
            return self._convolve(x_BSD.to(exact), self.weight.to(exact), self.bias.to(exact)).to(x_BSD.dtype)

    @staticmethod
    def _convolve(x_BSD: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        image = x_BSD.transpose(1, 2).unsqueeze(2)
        image = F.conv2d(image, weight, bias, padding=(0, weight.shape[-1] // 2), groups=len(bias))
        return image.squeeze(2).transpose(1, 2)


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
