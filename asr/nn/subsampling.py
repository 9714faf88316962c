"""Fewer, wider frames: convolutions that shorten time before an encoder.

B batch, T feature frames, F features, S encoder frames, C channels, D model dim.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from asr.errors import ConfigError
from asr.lengths import padding_mask
from asr.nn.kernels import relu_within
from asr.registry import Config


class SubsamplingConfig(Config):
    """`factor` feature frames become one encoder frame; `channels` is the width of the 2-D convolutions."""

    factor: Literal[1, 2, 4, 8] = 4
    channels: PositiveInt = 64


class Subsampling(nn.Module):
    """(B, T, F) -> (B, S, D) by one 3 x 3 convolution of stride 2 over time and frequency for each halving.

    S = T halved `log2(factor)` times, rounded up each time. Factor 1 is a linear layer alone. Channels are kept
    narrow and last in memory: a first pair of D channels would cost as much as all layers of a small Conformer.
    ConfigError when there are no more features than `factor`, which leaves the last convolution nothing to mix.
    """

    def __init__(self, config: SubsamplingConfig, num_features: int, dim: int) -> None:
        super().__init__()
        if num_features <= config.factor > 1:
            # torch's bfloat16 kernel also reads beyond images of width 2
            raise ConfigError(
                f"subsampling.factor {config.factor} needs more than {config.factor} features, not {num_features}; "
                "choose a smaller factor"
            )
        self.factor = config.factor
        self.num_features = num_features
        self.stages = nn.ModuleList()
        channels, width = 1, num_features
        for _ in range(config.factor.bit_length() - 1):
            self.stages.append(nn.Conv2d(channels, config.channels, kernel_size=3, stride=2, padding=1))
            channels, width = config.channels, (width + 1) // 2
        self.project = nn.Linear(channels * width, dim)

    def output_lens(self, lens: Tensor) -> Tensor:
        """Encoder frames made of `lens` feature frames; none of none."""
        for _ in self.stages:
            lens = (lens + 1) // 2
        return lens

    def forward(self, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        """Frames, at least one wide however short the batch, and their lengths (B,)."""
        if features.shape[1] == 0:
            features = F.pad(features, (0, 0, 0, 1))
        x = features.masked_fill(padding_mask(lens, features.shape[1])[..., None], 0.0)
        x = x[..., None].permute(0, 3, 1, 2)  # (B, C, T, F), channels last in memory
        for stage in self.stages:
            lens = (lens + 1) // 2
            x = relu_within(stage(x), lens)
        x = x.permute(0, 2, 3, 1)  # (B, S, F, C), which is how it lies in memory
        # under autocast too the sums of all layers start, and hence stay, in the weights' dtype: 2 % of a step
        return self.project(x.flatten(2)).to(self.project.weight.dtype), lens

    def init_cache(self, rows: int) -> tuple[Tensor, ...]:
        """What `step` remembers of so many recordings before their first frame: the last frame each stage saw."""
        cache, width = [], self.num_features
        for stage in self.stages:
            assert isinstance(stage, nn.Conv2d)
            cache.append(self.project.weight.new_zeros(rows, stage.in_channels, 1, width))
            width = (width + 1) // 2
        return tuple(cache)

    def step(
        self, features: Tensor, lens: Tensor, cache: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """As `forward` for the next features (B, T, F), T a multiple of `factor`; lens below T end a recording.

        An encoder frame sees the `factor` feature frames that it stands for and as many less one before them, so
        nothing has to wait for what comes later.
        """
        assert features.shape[1] % self.factor == 0
        x = features.masked_fill(padding_mask(lens, features.shape[1])[..., None], 0.0)[:, None]
        following = []
        for stage, past in zip(self.stages, cache, strict=True):
            assert isinstance(stage, nn.Conv2d)
            following.append(x[:, :, -1:])
            lens = (lens + 1) // 2
            joined = torch.cat([past.to(x.dtype), x], dim=2)
            convolved = F.conv2d(joined, stage.weight, stage.bias, stride=2, padding=(0, 1))
            x = relu_within(convolved, lens)
        x = x.permute(0, 2, 3, 1)
        return self.project(x.flatten(2)).to(self.project.weight.dtype), lens, tuple(following)
