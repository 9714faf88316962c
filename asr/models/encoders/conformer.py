"""The Conformer: attention for what is far, convolution for what is near (Gulati et al. 2020)."""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from asr.models.encoders.base import ENCODERS, BaseEncoderConfig, Encoder, FrameMasks, Tap
from asr.nn.attention import PositionKind, build_attention, build_positions
from asr.nn.convolution import ConvolutionModule
from asr.nn.dropout import Dropout, StochasticDepth
from asr.nn.feed_forward import FeedForward
from asr.nn.subsampling import Subsampling, SubsamplingConfig
from asr.types import EncoderOutput


class ConformerSizes(BaseEncoderConfig):
    """What Conformers share. `stochastic_depth` is the drop probability of the last layer; earlier ones get less."""

    num_heads: PositiveInt = 4
    ff_dim: PositiveInt = 576
    kernel_size: PositiveInt = 31
    positions: PositionKind = "rotary"
    attention_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    stochastic_depth: float = Field(default=0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.dim % (2 * self.num_heads):
            raise ValueError(f"dim {self.dim} must be a multiple of 2 x num_heads ({2 * self.num_heads})")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size} must be odd; use {self.kernel_size + 1}")
        return self


class ConformerConfig(ConformerSizes):
    """Sizes of a Conformer that sees the whole utterance."""

    name: Literal["conformer"] = "conformer"

    @classmethod
    def tiny(cls) -> ConformerConfig:
        return cls(
            dim=16, num_layers=2, num_heads=2, ff_dim=24, kernel_size=5, subsampling=SubsamplingConfig(channels=4)
        )


class ConformerLayer(nn.Module):
    """Half a feed-forward step, attention, convolution, the other half, LayerNorm: (B, S, D) -> (B, S, D)."""

    def __init__(self, config: ConformerSizes, *, causal: bool = False) -> None:
        super().__init__()
        dim, dropout = config.dim, config.dropout
        self.feed_forward_in = FeedForward(dim, config.ff_dim, dropout)
        self.attention = build_attention(config.positions, dim, config.num_heads, dropout, config.attention_dropout)
        self.convolution = ConvolutionModule(dim, config.kernel_size, dropout, causal=causal)
        self.feed_forward_out = FeedForward(dim, config.ff_dim, dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, masks: FrameMasks, table: Tensor) -> Tensor:
        x = torch.add(x, self.feed_forward_in(x), alpha=0.5)
        x = x + self.attention(x, masks.attention, table)
        x = x + self.convolution(x, masks.padding)
        x = torch.add(x, self.feed_forward_out(x), alpha=0.5)
        normalised: Tensor = self.norm(x)
        return normalised


@ENCODERS.register(ConformerConfig)
class Conformer(Encoder):
    """Convolutional subsampling, then Conformer layers."""

    def __init__(self, config: ConformerConfig, num_features: int) -> None:
        super().__init__()
        self.num_layers = config.num_layers
        self.output_dim = config.dim
        self.subsampling = Subsampling(config.subsampling, num_features, config.dim)
        self.dropout = Dropout(config.dropout)
        self.positions = build_positions(config.positions, config.dim, config.num_heads)
        self.layers = nn.ModuleList(ConformerLayer(config) for _ in range(config.num_layers))
        self.layer_drop = nn.ModuleList(
            StochasticDepth(config.stochastic_depth * index / config.num_layers)
            for index in range(1, config.num_layers + 1)
        )

    @property
    def subsampling_factor(self) -> int:
        return self.subsampling.factor

    def output_lens(self, lens: Tensor) -> Tensor:
        return self.subsampling.output_lens(lens)

    def forward(self, features: Tensor, lens: Tensor, tap: Tap | None = None) -> EncoderOutput:
        frames, lens = self.subsampling(features, lens)
        frames = self.dropout(frames)
        masks = FrameMasks(lens, frames.shape[1])
        table = self.positions(frames)
        for index, (layer, layer_drop) in enumerate(zip(self.layers, self.layer_drop, strict=True), start=1):
            frames = layer_drop(frames, layer(frames, masks, table))
            if tap is not None:
                frames = tap(index, frames)
        return EncoderOutput(frames, lens)
