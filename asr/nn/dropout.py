"""Random omission during training: of single values, and of whole layers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """Zero values with probability `p` and scale the others so that the expectation stays; identity in eval mode.

    On CPU one random byte decides about one value: a generator's 64-bit words read as bytes are about twelve times as
    fast as a float each. A value is kept with probability k / 256, the nearest to 1 - p, and it is that probability
    the kept values are scaled by. Draws follow from torch's default generator.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        assert 0.0 <= p < 1.0, f"dropout of {p} leaves nothing"
        self.p = p
        self.kept_bytes = max(1, round((1.0 - p) * 256))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape in, the same shape and dtype out."""
        if not self.training or self.kept_bytes == 256:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.p)
        scales = torch.empty(x.shape, dtype=x.dtype)
        torch.lt(random_bytes(x.shape), self.kept_bytes, out=scales)  # into floats at once: no bools in between
        return x * scales.mul_(256 / self.kept_bytes)

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


def random_bytes(shape: torch.Size) -> Tensor:
    """Uniform uint8 of any shape on the CPU.

    Torch's default generator draws a seed; the words come from SFC64 (Doty-Humphrey's PractRand), which is twice as
    fast as torch's Mersenne Twister and no smaller part of a training step otherwise.
    """
    seed = int(torch.empty((), dtype=torch.int64).random_())
    count = shape.numel()
    words = np.random.SFC64(seed).random_raw((count + 7) // 8)
    return torch.from_numpy(words.view(np.uint8))[:count].view(shape)
