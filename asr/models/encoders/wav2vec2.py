"""wav2vec 2.0's encoder (Baevski et al. 2020, https://arxiv.org/abs/2006.11477), which is HuBERT's, too.

Convolutions over samples, then a Transformer whose positions come from one more, wide convolution. In the "group"
variants the first convolution is normalised over time; taken over padding as well, as elsewhere, an utterance's answer
changes with its batch. Here the statistics are those of its own frames.

B utterances, T samples, C channels, S frames, D model dim.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from asr.lengths import padding_mask
from asr.models.encoders.base import ENCODERS, Encoder, FrameMasks, Tap
from asr.nn.dropout import Dropout
from asr.nn.kernels import attend, is_traced, may_hold_padding
from asr.registry import NamedConfig
from asr.types import EncoderOutput


class Wav2Vec2Config(NamedConfig):
    """Sizes of the base model by default."""

    name: Literal["wav2vec2"] = "wav2vec2"
    conv_dims: tuple[PositiveInt, ...] = (512,) * 7  # channels of the convolutions over samples
    conv_kernels: tuple[PositiveInt, ...] = (10, 3, 3, 3, 3, 2, 2)  # their widths
    conv_strides: tuple[PositiveInt, ...] = (5, 2, 2, 2, 2, 2, 2)  # their steps
    conv_bias: bool = False  # whether they add a constant
    conv_norm: Literal["group", "layer"] = "group"  # over time after the first one, or over channels after each
    projection_norm: bool = True  # between convolutions and Transformer
    dim: PositiveInt = 768
    num_layers: PositiveInt = 12
    num_heads: PositiveInt = 12
    ff_dim: PositiveInt = 3072
    position_kernel: PositiveInt = 128  # frames
    position_groups: PositiveInt = 16  # of channels, in the convolution that tells positions
    pre_norm: bool = False  # "stable layer norm"
    norm_eps: float = Field(default=1e-5, gt=0.0)  # added to variances
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _fits(self) -> Wav2Vec2Config:
        if not len(self.conv_dims) == len(self.conv_kernels) == len(self.conv_strides) > 0:
            raise ValueError("conv_dims, conv_kernels and conv_strides must be equally many, at least one")
        for name in ("num_heads", "position_groups"):
            if self.dim % getattr(self, name):
                raise ValueError(f"dim {self.dim} must be a multiple of {name} {getattr(self, name)}")
        return self

    @classmethod
    def tiny(cls) -> Wav2Vec2Config:
        return cls(
            conv_dims=(6, 8, 8),
            conv_kernels=(3, 2, 2),
            conv_strides=(2, 2, 1),
            dim=16,
            num_layers=2,
            num_heads=2,
            ff_dim=24,
            position_kernel=4,
            position_groups=4,
        )


class TimeNorm(nn.Module):
    """Each channel of (B, C, T) to mean 0 and variance 1 over the frames of its own utterance, then scaled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.eps = 1e-5
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x_BCT: Tensor, lens: Tensor) -> Tensor:
        """`lens` (B,) counts the valid frames; what stands beyond them does not count and may become anything."""
        if not may_hold_padding(lens, x_BCT.shape[2]):
            return F.group_norm(x_BCT, len(self.weight), self.weight, self.bias, self.eps)
        values = x_BCT.to(torch.promote_types(x_BCT.dtype, torch.float32))
        padding = padding_mask(lens, values.shape[2])[:, None]
        count = lens.clamp(min=1)[:, None, None].to(values.dtype)
        centred = values - values.masked_fill(padding, 0.0).sum(2, keepdim=True) / count
        variance = centred.masked_fill(padding, 0.0).square().sum(2, keepdim=True) / count
        scale = torch.rsqrt(variance + self.eps) * self.weight[:, None]
        return (centred * scale + self.bias[:, None]).to(x_BCT.dtype)


class ConvStage(nn.Module):
    """A convolution without padding, a norm where there is one, GELU: (B, C, T) -> (B, C', T')."""

    def __init__(self, config: Wav2Vec2Config, index: int, channels: int) -> None:
        super().__init__()
        dim, self.kernel, self.stride = (
            each[index] for each in (config.conv_dims, config.conv_kernels, config.conv_strides)
        )
        self.conv = nn.Conv1d(channels, dim, self.kernel, self.stride, bias=config.conv_bias)
        nn.init.kaiming_normal_(self.conv.weight)
        self.time_norm = TimeNorm(dim) if config.conv_norm == "group" and index == 0 else None
        self.norm = nn.LayerNorm(dim) if config.conv_norm == "layer" else None

    def output_lens(self, lens: Tensor) -> Tensor:
        """Frames that see nothing but so many frames."""
        return (torch.div(lens - self.kernel, self.stride, rounding_mode="floor") + 1).clamp(min=0)

    def forward(self, x: Tensor, lens: Tensor) -> Tensor:
        """`lens` (B,) are of the output."""
        x = self.conv(x)
        if self.time_norm is not None:
            x = self.time_norm(x, lens)
        if self.norm is not None:
            x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        activated: Tensor = F.gelu(x)
        return activated


class ConvPositions(nn.Module):
    """What a wide grouped convolution makes of the frames around each: (B, S, D) -> (B, S, D)."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        kernel = config.position_kernel
        self.conv = nn.Conv1d(config.dim, config.dim, kernel, padding=kernel // 2, groups=config.position_groups)
        nn.init.normal_(self.conv.weight, std=2 * math.sqrt(1 / (kernel * config.dim)))  # fairseq's

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Frames outside the tensor count as zero; padding inside it must be zero already."""
        positions: Tensor = self.conv(x_BSD.transpose(1, 2))[..., : x_BSD.shape[1]]  # an even kernel makes one too many
        return F.gelu(positions).transpose(1, 2)


class Wav2Vec2Layer(nn.Module):
    """Attention, then feed-forward, each with its norm before it or after the sum: (B, S, D) -> (B, S, D)."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        dim = config.dim
        self.num_heads, self.pre_norm = config.num_heads, config.pre_norm
        self.attention_norm = nn.LayerNorm(dim, config.norm_eps)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.feed_forward_norm = nn.LayerNorm(dim, config.norm_eps)
        self.widen = nn.Linear(dim, config.ff_dim)
        self.narrow = nn.Linear(config.ff_dim, dim)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.pre_norm:
            x = x + self._attend(self.attention_norm(x), mask)
            return x + self._feed_forward(self.feed_forward_norm(x))
        x = self.attention_norm(x + self._attend(x, mask))
        normed: Tensor = self.feed_forward_norm(x + self._feed_forward(x))
        return normed

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        projected = self.query_key_value(x).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)
        context = attend(query, key, value, mask, self.dropout.share)
        branch: Tensor = self.dropout(self.out(context.transpose(1, 2).flatten(2)))
        return branch

    def _feed_forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.dropout(self.narrow(self.dropout(F.gelu(self.widen(x)))))
        return branch


@ENCODERS.register(Wav2Vec2Config)
class Wav2Vec2Encoder(Encoder):
    """Frames of a waveform (B, T, 1), one every `subsampling_factor` samples that sees `receptive_field` of them."""

    def __init__(self, config: Wav2Vec2Config, num_features: int) -> None:
        super().__init__()
        self.num_layers = config.num_layers
        self.output_dim = config.dim
        channels = (num_features, *config.conv_dims)
        self.stages = nn.ModuleList(ConvStage(config, index, channels[index]) for index in range(len(channels) - 1))
        self.project_norm = nn.LayerNorm(channels[-1], config.norm_eps) if config.projection_norm else nn.Identity()
        self.project = nn.Linear(channels[-1], config.dim)
        self.positions = ConvPositions(config)
        self.dropout = Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.dim, config.norm_eps)
        self.layers = nn.ModuleList(Wav2Vec2Layer(config) for _ in range(config.num_layers))
        self.pre_norm = config.pre_norm
        self.receptive_field = 1
        for kernel, stride in zip(reversed(config.conv_kernels), reversed(config.conv_strides), strict=True):
            self.receptive_field = (self.receptive_field - 1) * stride + kernel
        self._factor = math.prod(config.conv_strides)

    @property
    def subsampling_factor(self) -> int:
        return self._factor

    def output_lens(self, lens: Tensor) -> Tensor:
        for stage in self.stages:
            assert isinstance(stage, ConvStage)
            lens = stage.output_lens(lens)
        return lens

    def forward(self, features: Tensor, lens: Tensor, tap: Tap | None = None) -> EncoderOutput:
        if not is_traced() and features.shape[1] < self.receptive_field:  # convolutions refuse to make no frame
            features = F.pad(features, (0, 0, 0, self.receptive_field - features.shape[1]))
        x = features.masked_fill(padding_mask(lens, features.shape[1])[..., None], 0.0).transpose(1, 2)
        for stage in self.stages:
            assert isinstance(stage, ConvStage)
            lens = stage.output_lens(lens)
            x = stage(x, lens)
        frames = self.project(self.project_norm(x.transpose(1, 2))).to(self.project.weight.dtype)
        masks = FrameMasks(lens, frames.shape[1])
        frames = self.dropout(frames)
        if masks.padding is not None:
            frames = frames.masked_fill(masks.padding[..., None], 0.0)  # else padding leaks into positions
        frames = frames + self.positions(frames)
        frames = self.dropout(frames if self.pre_norm else self.norm(frames))
        for index, layer in enumerate(self.layers, start=1):
            frames = layer(frames, masks.attention)
            if tap is not None:
                frames = tap(index, frames)
        return EncoderOutput(self.norm(frames) if self.pre_norm else frames, lens)
