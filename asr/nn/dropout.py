"""Random omission during training: of single values, and of whole layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asr.nn.kernels import drop


class Dropout(nn.Module):
    """Zero values with probability `p` and scale the others so that the expectation stays; identity in eval mode.

    The probability is rounded to 256ths on CPU (`asr.nn.kernels.drop`). Draws follow from torch's default generator.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        assert 0.0 <= p < 1.0, f"dropout of {p} leaves nothing"
        self.p = p

    @property
    def share(self) -> float:
        """The share of values that is dropped now: none in eval mode."""
        return self.p if self.training else 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Any shape in, the same shape and dtype out."""
        return drop(x, self.share)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class StochasticDepth(nn.Module):
    """Drop the change a layer makes, for each utterance of the batch by itself (Huang et al. 2016).

    What survives is scaled by 1 / (1 - p), so that evaluation needs no correction. Every rank of a distributed run
    still computes every layer, which keeps gradients defined for all parameters.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        assert 0.0 <= p < 1.0, f"a layer dropped with probability {p} learns nothing"
        self.p = p

    def forward(self, before_BSD: Tensor, after_BSD: Tensor) -> Tensor:
        """The layer's output where it survives, its input where not."""
        if not self.training or self.p == 0.0:
            return after_BSD
        survives = torch.rand(len(before_BSD), 1, 1, device=before_BSD.device) >= self.p
        scale = survives.to(before_BSD.dtype) / (1.0 - self.p)
        return before_BSD + scale * (after_BSD - before_BSD)

    def extra_repr(self) -> str:
        return f"p={self.p}"
