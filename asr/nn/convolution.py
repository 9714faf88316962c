"""The convolution branch of a Conformer layer."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.nn.dropout import Dropout

TRANSFORM_SIZE = 256  # frames; at least four times the kernel, for little overlap


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
            return _convolve(x_BSD, self.weight, self.bias)
        exact = torch.promote_types(self.weight.dtype, torch.float32)
        with torch.autocast("cpu", enabled=False):
            convolved: Tensor = _CpuConvolution.apply(x_BSD.to(exact), self.weight.to(exact), self.bias.to(exact))
            return convolved.to(x_BSD.dtype)


def _convolve(x_BSD: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    padding = (0, weight.shape[-1] // 2)
    return _frames(F.conv2d(_image(x_BSD), weight, bias, padding=padding, groups=len(weight)))


class _CpuConvolution(torch.autograd.Function):
    """The same, with a gradient of the weights by Fourier transform.

    Torch's own takes twice as long, and five times when utterances have more than 512 frames (docs/performance.md).
    The sum over all frames of a batch may be taken in any pieces: here the utterances follow each other with zeros in
    between and are cut into windows of one length.
    """

    @staticmethod
    def forward(ctx: Any, x_BSD: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x_BSD, weight)
        return _convolve(x_BSD, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        (gradient_BSD,), (x_BSD, weight) = gradients, ctx.saved_tensors
        # autograd does not promise a layout, and another one takes ten times as long
        gradient_BSD = gradient_BSD.contiguous()
        return (
            _convolve(gradient_BSD, weight.flip(-1), None) if ctx.needs_input_grad[0] else None,
            _weight_gradient(x_BSD, gradient_BSD, weight.shape[-1])[:, None, None],
            gradient_BSD.sum((0, 1)),
        )


def _weight_gradient(x_BSD: Tensor, gradient_BSD: Tensor, kernel_size: int) -> Tensor:
    """Correlations (D, kernel_size) of each channel of `x` with its gradient, by the overlap-save method."""
    half = kernel_size // 2
    size = max(TRANSFORM_SIZE, 1 << (4 * kernel_size).bit_length())
    step = size - 2 * half  # frames of a window whose correlations do not wrap around
    x, gradient = (F.pad(frames, (0, 0, 0, half)).flatten(0, 1) for frames in (x_BSD, gradient_BSD))
    missing = -len(x) % step
    x_NDS = F.pad(x, (0, 0, half, half + missing)).unfold(0, size, step)
    gradient_NDS = F.pad(gradient, (0, 0, 0, missing)).unfold(0, step, step)
    products = torch.fft.rfft(gradient_NDS, n=size).conj() * torch.fft.rfft(x_NDS)
    return torch.fft.irfft(products.sum(0), n=size)[:, :kernel_size]


def _image(frames_BSD: Tensor) -> Tensor:
    """(B, D, 1, S) in channels-last layout, without a copy."""
    return frames_BSD.transpose(1, 2).unsqueeze(2)


def _frames(image: Tensor) -> Tensor:
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
