"""SpecAugment: features with stripes of frequency and time masked, and the frequency axis stretched a little.

Park et al. 2019, arXiv:1904.08779; masks adaptive to length: Park et al. 2020, arXiv:1912.05533; warped frequency:
Jaitly and Hinton, "Vocal tract length perturbation improves speech recognition", ICML workshop 2013.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from asr.registry import Config


class SpecAugmentConfig(Config):
    """How much is masked. The number and the width of time masks grow with the utterance."""

    num_freq_masks: int = Field(default=2, ge=0)  # bands hidden in each utterance
    max_freq_width: int = Field(default=27, ge=0)  # features
    time_masks_per_frame: float = Field(default=0.04, ge=0, le=1)  # stretches hidden for each frame
    max_time_masks: int = Field(default=20, ge=0)  # of one utterance, however long
    max_time_fraction: float = Field(default=0.04, ge=0, le=1)  # of the utterance, for each mask
    max_freq_warp: float = Field(default=0.0, ge=0, lt=1)  # the frequency axis is stretched by a factor of 1 +- this


class SpecAugment:
    """Normalised features (T, F) -> features (T, F); masks hold 0, the mean. Every draw comes from `rng`."""

    def __init__(self, config: SpecAugmentConfig) -> None:
        self.config = config

    def __call__(self, features: Tensor, rng: np.random.Generator) -> Tensor:
        """A changed copy; features of 0 frames pass."""
        config = self.config
        num_frames, num_features = features.shape
        features = self._warp(features, rng) if config.max_freq_warp else features.clone()
        for _ in range(config.num_freq_masks if num_features > 1 else 0):  # a waveform is one band
            start, end = _stripe(num_features, min(config.max_freq_width, num_features), rng)
            features[:, start:end] = 0.0
        max_width = int(config.max_time_fraction * num_frames)
        for _ in range(min(config.max_time_masks, int(config.time_masks_per_frame * num_frames))):
            start, end = _stripe(num_frames, max_width, rng)
            features[start:end] = 0.0
        return features

    def _warp(self, features: Tensor, rng: np.random.Generator) -> Tensor:
        """Read feature k at k times a random factor, between two neighbours; beyond the top the last one repeats."""
        top = features.shape[1] - 1
        factor = 1.0 + rng.uniform(-self.config.max_freq_warp, self.config.max_freq_warp)
        position = (torch.arange(top + 1, device=features.device) * factor).clamp(max=top)
        below = position.long()
        return features[:, below].lerp(features[:, (below + 1).clamp(max=top)], (position - below).to(features.dtype))


def _stripe(size: int, max_width: int, rng: np.random.Generator) -> tuple[int, int]:
    width = int(rng.integers(max_width + 1))
    start = int(rng.integers(size - width + 1))
    return start, start + width
