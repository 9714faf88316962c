"""The Transformer encoder, pre-norm (Vaswani et al. 2017; Xiong et al. 2020)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from asr.models.encoders.base import ENCODERS, BaseEncoderConfig, Encoder, FrameMasks, Tap
from asr.nn.attention import PositionKind, build_attention, build_positions
from asr.nn.dropout import Dropout
from asr.nn.feed_forward import FeedForward
from asr.nn.subsampling import Subsampling, SubsamplingConfig
from asr.types import EncoderOutput


class TransformerConfig(BaseEncoderConfig):
    """Sizes of a Transformer encoder."""

    name: Literal["transformer"] = "transformer"
    num_heads: PositiveInt = 4
    ff_dim: PositiveInt = 576
    positions: PositionKind = "rotary"
    attention_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _fits(self) -> TransformerConfig:
        if self.dim % (2 * self.num_heads):
            raise ValueError(f"dim {self.dim} must be a multiple of 2 x num_heads ({2 * self.num_heads})")
        return self

    @classmethod
    def tiny(cls) -> TransformerConfig:
        return cls(dim=16, num_layers=2, num_heads=2, ff_dim=24, subsampling=SubsamplingConfig(channels=4))


class TransformerLayer(nn.Module):
    """Attention, then feed-forward: (B, S, D) -> (B, S, D)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim, dropout = config.dim, config.dropout
        self.attention = build_attention(config.positions, dim, config.num_heads, dropout, config.attention_dropout)
        self.feed_forward = FeedForward(dim, config.ff_dim, dropout)

    def forward(self, x: Tensor, masks: FrameMasks, table: Tensor) -> Tensor:
        x = x + self.attention(x, masks.attention, table)
        widened: Tensor = self.feed_forward(x)
        return x + widened


@ENCODERS.register(TransformerConfig)
class TransformerEncoder(Encoder):
    """Convolutional subsampling, Transformer layers and a final LayerNorm."""

    def __init__(self, config: TransformerConfig, num_features: int) -> None:
        super().__init__()
        self.num_layers = config.num_layers
        self.output_dim = config.dim
        self.subsampling = Subsampling(config.subsampling, num_features, config.dim)
        self.dropout = Dropout(config.dropout)
        self.positions = build_positions(config.positions, config.dim, config.num_heads)
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.dim)

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
        for index, layer in enumerate(self.layers, start=1):
            frames = layer(frames, masks, table)
            if tap is not None:
                frames = tap(index, frames)
        return EncoderOutput(self.norm(frames), lens)
