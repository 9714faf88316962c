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
    A `causal` one sees `kernel_size` - 1 frames of the past and none of the future.
    """

    def __init__(self, dim: int, kernel_size: int, dropout: float, *, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.norm = nn.LayerNorm(dim)
        self.pointwise_in = nn.Linear(dim, 2 * dim)
        self.depthwise = DepthwiseConvolution(dim, kernel_size)
        self.depthwise_norm = nn.LayerNorm(dim)
        self.pointwise_out = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x_BSD: Tensor, padding: Tensor | None) -> Tensor:
        """`padding` (B, S) is True beyond each length; None when every frame is valid."""
        if not self.causal:
            return self._finish(self.depthwise(self._gate(x_BSD, padding)))
        # what would be the middle of the kernel looks at half a kernel earlier
        later = self.depthwise(F.pad(self._gate(x_BSD, padding), (0, 0, self.kernel_size // 2, 0)))
        return self._finish(later[:, : x_BSD.shape[1]])

    def step(
        self, x_BSD: Tensor, padding: Tensor | None, past: Tensor, num_kept: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """The branch for the next frames after `past` (B, num_past, D), zeros at first, and the next `past`.

        That one is what lies before the frame `num_kept`, for those behind come again; None for all. What is not causal
        takes the last frame for the last of the recording.
        """
        joined = torch.cat([past.to(x_BSD.dtype), self._gate(x_BSD, padding)], dim=1)
        first = self.kernel_size // 2
        convolved = self.depthwise(joined)[:, first : first + x_BSD.shape[1]]
        num_kept = x_BSD.shape[1] if num_kept is None else num_kept
        return self._finish(convolved), joined[:, num_kept : num_kept + self.num_past]

    @property
    def kernel_size(self) -> int:
        """Frames."""
        return self.depthwise.weight.shape[-1]

    @property
    def num_past(self) -> int:
        """The frames before its own that a frame sees."""
        return self.kernel_size - 1 if self.causal else self.kernel_size // 2

    def _gate(self, x_BSD: Tensor, padding: Tensor | None) -> Tensor:
        gated = F.glu(self.pointwise_in(self.norm(x_BSD)), dim=-1)
        return gated if padding is None else gated.masked_fill(padding[..., None], 0.0)  # else it leaks

    def _finish(self, convolved_BSD: Tensor) -> Tensor:
        x = F.silu(self.depthwise_norm(convolved_BSD))
        branch: Tensor = self.dropout(self.pointwise_out(x))
        return branch
