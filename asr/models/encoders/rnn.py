"""Recurrent encoders: LSTM, GRU or plain RNN, in one or both directions."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from asr.models.encoders.base import ENCODERS, BaseEncoderConfig, Encoder, Intermediate
from asr.nn.dropout import Dropout
from asr.nn.subsampling import SubsamplingConfig
from asr.types import EncoderOutput

CELLS: dict[str, type[nn.LSTM | nn.GRU | nn.RNN]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class RnnConfig(BaseEncoderConfig):
    """Sizes of a recurrent encoder: `dim` units in each direction, `projection` values a frame between layers."""

    name: Literal["rnn"] = "rnn"
    dim: PositiveInt = 256
    num_layers: PositiveInt = 3
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    bidirectional: bool = True
    projection: PositiveInt | None = None  # None: the units themselves

    @classmethod
    def tiny(cls) -> RnnConfig:
        return cls(dim=8, num_layers=2, projection=10, subsampling=SubsamplingConfig(channels=4))


class RnnLayer(nn.Module):
    """Recurrence over the valid frames, optional projection, LayerNorm, dropout: (B, S, D) -> (B, S, output_dim)."""

    def __init__(self, config: RnnConfig, input_dim: int) -> None:
        super().__init__()
        cell = CELLS[config.cell]
        self.recurrence = cell(input_dim, config.dim, batch_first=True, bidirectional=config.bidirectional)
        recurrent_dim = config.dim * (2 if config.bidirectional else 1)
        self.output_dim = config.projection or recurrent_dim
        self.projection = nn.Linear(recurrent_dim, config.projection) if config.projection else nn.Identity()
        self.norm = nn.LayerNorm(self.output_dim)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, packed_lens: Tensor) -> Tensor:
        """`packed_lens` (B,) on the CPU, at least 1 each. Packing starts the backward direction at the last frame."""
        packed = pack_padded_sequence(x, packed_lens, batch_first=True, enforce_sorted=False)
        # bfloat16 gains nothing in a recurrence, which rounds again at every frame
        with torch.autocast(x.device.type, enabled=False):
            weight_dtype = self.norm.weight.dtype
            packed, _ = self.recurrence(packed.to(dtype=weight_dtype))
        x, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        dropped: Tensor = self.dropout(self.norm(self.projection(x)))
        return dropped


@ENCODERS.register(RnnConfig)
class RnnEncoder(Encoder):
    """Convolutional subsampling, then recurrent layers."""

    def __init__(self, config: RnnConfig, num_features: int) -> None:
        super().__init__(config, num_features)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList()
        dim = config.dim
        for _ in range(config.num_layers):
            layer = RnnLayer(config, dim)
            self.layers.append(layer)
            dim = layer.output_dim
        self.output_dim = dim

    def forward(
        self, features: Tensor, feature_lens: Tensor, intermediate: Intermediate | None = None
    ) -> EncoderOutput:
        frames, lens = self.subsampling(features, feature_lens)
        frames = self.dropout(frames)
        packed_lens = lens.cpu().clamp(min=1)  # a row without frames reads one of padding, which nobody looks at
        collected: list[Tensor] = []
        for index, layer in enumerate(self.layers, start=1):
            frames = layer(frames, packed_lens)
            if intermediate is not None:
                frames = intermediate(index, frames, collected)
        return EncoderOutput(frames, lens, tuple(collected))
