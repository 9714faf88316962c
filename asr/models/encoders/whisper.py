"""Whisper's encoder (Radford et al. 2022, https://arxiv.org/abs/2212.04356): two convolutions, pre-norm Transformer."""

from __future__ import annotations

import functools
import math
from typing import Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from asr.lengths import padding_mask
from asr.models.encoders.base import ENCODERS, Encoder, FrameMasks, Tap
from asr.nn.attention import SelfAttention
from asr.nn.feed_forward import FeedForward
from asr.nn.kernels import is_traced
from asr.registry import NamedConfig
from asr.types import EncoderOutput

FACTOR = 2
MAX_TIMESCALE = 10000.0
WINDOW_FRAMES = 1500  # of 30 s
ROUNDINGS = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class WhisperEncoderConfig(NamedConfig):
    """Sizes of a Whisper encoder: those of tiny by default."""

    name: Literal["whisper"] = "whisper"
    dim: PositiveInt = 384
    num_layers: PositiveInt = 4
    num_heads: PositiveInt = 6
    ff_dim: PositiveInt = 1536
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    # what the fixed positions were rounded to where the weights were stored: a few texts depend on it
    positions: Literal["exact", "float16", "bfloat16"] = "exact"

    @model_validator(mode="after")
    def _fits(self) -> WhisperEncoderConfig:
        if self.dim % 2 or self.dim % self.num_heads or self.dim < 4:
            raise ValueError(f"dim {self.dim} must be even, at least 4 and a multiple of num_heads {self.num_heads}")
        return self

    @classmethod
    def tiny(cls) -> WhisperEncoderConfig:
        return cls(dim=16, num_layers=2, num_heads=2, ff_dim=24)


class WhisperEncoderLayer(nn.Module):
    """Attention, then feed-forward: (B, S, D) -> (B, S, D)."""

    def __init__(self, config: WhisperEncoderConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config.dim, config.num_heads, config.dropout, 0.0)
        self.feed_forward = FeedForward(config.dim, config.ff_dim, config.dropout, F.gelu)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attention(x, mask)
        widened: Tensor = self.feed_forward(x)
        return x + widened


@ENCODERS.register(WhisperEncoderConfig)
class WhisperEncoder(Encoder):
    """One frame for every two of the features. The original's fixed 1500 frames may be fewer: padding is masked."""

    has_long_rows = True

    def __init__(self, config: WhisperEncoderConfig, num_features: int) -> None:
        super().__init__()
        self.num_layers = config.num_layers
        self.output_dim = config.dim
        self.positions = config.positions
        self.conv1 = nn.Conv1d(num_features, config.dim, 3, padding=1)
        self.conv2 = nn.Conv1d(config.dim, config.dim, 3, stride=FACTOR, padding=1)
        self.layers = nn.ModuleList(WhisperEncoderLayer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.dim)

    @property
    def subsampling_factor(self) -> int:
        return FACTOR

    def output_lens(self, lens: Tensor) -> Tensor:
        return (lens + FACTOR - 1) // FACTOR

    def forward(self, features: Tensor, lens: Tensor, tap: Tap | None = None) -> EncoderOutput:
        if not is_traced() and features.shape[1] == 0:
            features = F.pad(features, (0, 0, 0, 1))  # convolutions refuse nothing at all
        padding = padding_mask(lens, features.shape[1])[:, None]
        x = features.transpose(1, 2).masked_fill(padding, 0.0)
        x = F.gelu(self.conv1(x)).masked_fill(padding, 0.0)
        frames = F.gelu(self.conv2(x)).transpose(1, 2)
        table = whisper_positions if is_traced() else _kept_positions
        num_frames = frames.shape[1]
        frames = frames + table(num_frames, frames.shape[2], self.positions, frames.device)[:num_frames].to(
            frames.dtype
        )
        lens = self.output_lens(lens)
        masks = FrameMasks(lens, frames.shape[1])
        for index, layer in enumerate(self.layers, start=1):
            frames = layer(frames, masks.attention)
            if tap is not None:
                frames = tap(index, frames)
        return EncoderOutput(self.norm(frames), lens)


def whisper_positions(num_frames: int, dim: int, rounding: str, device: torch.device) -> Tensor:
    """Sines, then cosines (S, D) float64 of Whisper's own timescales, rounded to a type of 16 bits or "exact"."""
    half = dim // 2
    steps = torch.arange(half, device=device, dtype=torch.float64)
    scales = (steps * (-math.log(MAX_TIMESCALE) / (half - 1))).exp()
    angles = torch.arange(num_frames, device=device, dtype=torch.float64)[:, None] * scales
    table = torch.cat([angles.sin(), angles.cos()], dim=-1)
    return table if rounding == "exact" else table.to(ROUNDINGS[rounding]).double()


def _kept_positions(num_frames: int, dim: int, rounding: str, device: torch.device) -> Tensor:
    """The same for so many frames or more, computed once."""
    return _table_of_windows(-(-num_frames // WINDOW_FRAMES), dim, rounding, device)


@functools.lru_cache(maxsize=4)
def _table_of_windows(num_windows: int, dim: int, rounding: str, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return whisper_positions(num_windows * WINDOW_FRAMES, dim, rounding, device)
