"""Cepstral mean and variance normalisation: features with mean 0 and deviation 1, per corpus or per utterance."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from asr.lengths import padding_mask

CmvnKind = Literal["global", "utterance", "none"]
MIN_STD = 1e-3  # a feature that hardly varies is not blown up
FRACTION_BITS = 64


class FeatureStatistics:
    """Sums over frames, kept as whole numbers: the same in whatever order the utterances come."""

    def __init__(self, num_features: int) -> None:
        self.num_frames = 0
        self._sums = [0] * num_features  # in units of 2 ** -FRACTION_BITS
        self._square_sums = [0] * num_features

    def add(self, features: Tensor) -> None:
        """Count the frames of one utterance (T, F)."""
        exact = features.double()
        self.num_frames += len(exact)
        self._sums = _add_scaled(self._sums, exact.sum(dim=0))
        self._square_sums = _add_scaled(self._square_sums, exact.square().sum(dim=0))

    def mean(self) -> Tensor:
        """(F,) float64; zeros before any frame."""
        return self._average(self._sums)

    def std(self) -> Tensor:
        """(F,) float64, at least MIN_STD."""
        return (self._average(self._square_sums) - self.mean().square()).clamp(min=MIN_STD**2).sqrt()

    def _average(self, sums: list[int]) -> Tensor:
        unit = max(1, self.num_frames) << FRACTION_BITS
        return torch.tensor([total / unit for total in sums], dtype=torch.float64)


class Cmvn(nn.Module):
    """(B, T, F) -> (B, T, F): minus the mean, over the standard deviation.

    `global` takes both from a corpus and keeps them as buffers `mean` and `inv_std` (F,): identity until `fit` or
    loaded. `utterance` takes them from each utterance itself, `none` changes nothing.
    """

    mean: Tensor
    inv_std: Tensor

    def __init__(self, kind: CmvnKind, num_features: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "global":
            self.register_buffer("mean", torch.zeros(num_features))
            self.register_buffer("inv_std", torch.ones(num_features))

    def fit(self, statistics: FeatureStatistics) -> None:
        """Take mean and deviation from a corpus."""
        assert self.kind == "global", f"cmvn '{self.kind}' has no statistics"
        assert statistics.num_frames, "statistics of no frames"
        self.mean.copy_(statistics.mean())
        self.inv_std.copy_(1.0 / statistics.std())

    def forward(self, features: Tensor, lens: Tensor) -> Tensor:
        """Frames beyond `lens` do not count, and mean nothing afterwards."""
        if self.kind == "none":
            return features
        if self.kind == "global":
            return (features - self.mean) * self.inv_std
        padding = padding_mask(lens, features.shape[1])[..., None]
        count = lens.clamp(min=1)[:, None, None]
        mean = features.masked_fill(padding, 0.0).sum(dim=1, keepdim=True) / count
        centred = (features - mean).masked_fill(padding, 0.0)
        variance = centred.square().sum(dim=1, keepdim=True) / count
        return centred / variance.clamp(min=MIN_STD**2).sqrt()


def _add_scaled(totals: list[int], values: Tensor) -> list[int]:
    scaled = (values * 2.0**FRACTION_BITS).tolist()
    return [total + int(value) for total, value in zip(totals, scaled, strict=True)]
