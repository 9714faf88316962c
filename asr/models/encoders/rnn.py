"""Recurrent encoders: LSTM, GRU or plain RNN, in one or both directions."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from asr.lengths import padding_mask
from asr.models.encoders.base import ENCODERS, BaseEncoderConfig, Tap
from asr.models.encoders.streaming import Caches, StreamingEncoder
from asr.nn.chunks import Chunking, Chunkings
from asr.nn.dropout import Dropout
from asr.nn.kernels import RecurrentState, recur
from asr.nn.subsampling import Subsampling, SubsamplingConfig
from asr.types import EncoderOutput

CELLS: dict[str, type[nn.LSTM | nn.GRU | nn.RNN]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class RnnConfig(BaseEncoderConfig):
    """Sizes of a recurrent encoder: `dim` units in each direction, `projection` values a frame between layers."""

    name: Literal["rnn"] = "rnn"
    dim: PositiveInt = 256
    num_layers: PositiveInt = 3
    cell: Literal["lstm", "gru", "rnn"] = "lstm"  # kind of recurrent layer
    bidirectional: bool = True  # from both ends; otherwise it streams
    projection: PositiveInt | None = None  # None: the units themselves

    @classmethod
    def tiny(cls) -> RnnConfig:
        return cls(dim=8, num_layers=2, projection=10, subsampling=SubsamplingConfig(channels=4))


class RnnLayer(nn.Module):
    """Recurrence over the valid frames, optional projection, LayerNorm, dropout: (B, S, D) -> (B, S, output_dim).

    The backward direction is a second recurrence over each row's valid frames in reverse. Against packed sequences
    that halves the time on CPU, and again under bfloat16 autocast, which packing switches off.
    """

    def __init__(self, config: RnnConfig, input_dim: int) -> None:
        super().__init__()
        cell = CELLS[config.cell]
        self.forward_direction = cell(input_dim, config.dim, batch_first=True)
        self.backward_direction = cell(input_dim, config.dim, batch_first=True) if config.bidirectional else None
        recurrent_dim = config.dim * (2 if config.bidirectional else 1)
        self.output_dim = config.projection or recurrent_dim
        self.projection = nn.Linear(recurrent_dim, config.projection) if config.projection else nn.Identity()
        self.norm = nn.LayerNorm(self.output_dim)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, reversal: Tensor) -> Tensor:
        """`reversal` (B, S, 1) from `reversal_index`."""
        recurrent, _ = recur(self.forward_direction, x)
        if self.backward_direction is not None:
            backward, _ = recur(self.backward_direction, reorder_frames(x, reversal))
            recurrent = torch.cat([recurrent, reorder_frames(backward, reversal)], dim=-1)
        return self._finish(recurrent)

    def step(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """The next frames of a layer in one direction, and its next state."""
        assert self.backward_direction is None, "what runs backward needs the end first"
        recurrent, state = recur(self.forward_direction, x, state)
        return self._finish(recurrent), state

    def _finish(self, recurrent: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(self.norm(self.projection(recurrent)))
        return dropped


def reversal_index(lens: Tensor, num_frames: int) -> Tensor:
    """Indices (B, S, 1) that put the valid frames of each row in reverse and leave padding where it is."""
    frame = torch.arange(num_frames, device=lens.device)
    return torch.where(padding_mask(lens, num_frames), frame, lens[:, None] - 1 - frame)[..., None]


def reorder_frames(x_BSD: Tensor, index: Tensor) -> Tensor:
    """Frames (B, S, D) in the order of `index` (B, S, 1)."""
    return x_BSD.gather(1, index.expand_as(x_BSD))


@ENCODERS.register(RnnConfig)
class RnnEncoder(StreamingEncoder):
    """Convolutional subsampling, then recurrent layers. In one direction it streams, with the same frames always.

    Caches: the last frame of each stage of the subsampling, and of each layer the hidden state (B, dim), of an LSTM
    then the cells.
    """

    def __init__(self, config: RnnConfig, num_features: int) -> None:
        super().__init__()
        self.config = config
        self.num_layers = config.num_layers
        self.num_features = num_features
        self.subsampling = Subsampling(config.subsampling, num_features, config.dim)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList()
        dim = config.dim
        for _ in range(config.num_layers):
            layer = RnnLayer(config, dim)
            self.layers.append(layer)
            dim = layer.output_dim
        self.output_dim = dim

    @property
    def subsampling_factor(self) -> int:
        return self.subsampling.factor

    def output_lens(self, lens: Tensor) -> Tensor:
        return self.subsampling.output_lens(lens)

    @property
    def streams(self) -> bool:
        return not self.config.bidirectional

    def default_left_chunks(self, chunk_frames: int) -> int:
        return 0

    def forward(
        self, features: Tensor, lens: Tensor, tap: Tap | None = None, chunks: Chunkings | None = None
    ) -> EncoderOutput:
        frames, lens = self.subsampling(features, lens)
        frames = self.dropout(frames)
        reversal = reversal_index(lens, frames.shape[1])
        for index, layer in enumerate(self.layers, start=1):
            frames = layer(frames, reversal)
            if tap is not None:
                frames = tap(index, frames)
        return EncoderOutput(frames, lens)

    def init_caches(self, rows: int, chunking: Chunking) -> Caches:
        nothing = self.subsampling.project.weight.new_zeros(rows, self.config.dim)
        num_states = self.num_layers * (2 if self.config.cell == "lstm" else 1)
        return (*self.subsampling.init_cache(rows), *(nothing,) * num_states)

    def encode_chunk(
        self, features: Tensor, lens: Tensor, caches: Caches, chunking: Chunking, tap: Tap | None
    ) -> tuple[Tensor, Tensor, Caches]:
        num_stages = len(self.subsampling.stages)
        frames, lens, following = self.subsampling.step(features, lens, caches[:num_stages])
        states = iter(state[None].contiguous() for state in caches[num_stages:])  # torch's have a dimension of layers
        for index, layer in enumerate(self.layers, start=1):
            state = (next(states), next(states)) if self.config.cell == "lstm" else next(states)
            assert isinstance(layer, RnnLayer)
            frames, state = layer.step(frames, state)
            following += tuple(part[0] for part in (state if isinstance(state, tuple) else (state,)))
            if tap is not None:
                frames = tap(index, frames)
        return frames, lens, following
