"""A Conformer for audio that is still coming in, and for whole utterances: one model for every latency.

Convolutions see the past only; attention sees chunks and a limited number of frames before them. Trained with chunks
of random sizes and, half of the time, with all of the utterance ("dynamic chunks" of Zhang et al. 2020, "Unified
streaming and non-streaming two-pass end-to-end model for speech recognition"), it streams with any chunk from one frame
on, and recognises whole utterances with attention to all of them.
"""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from asr.lengths import padding_mask
from asr.models.encoders.base import ENCODERS, FrameMasks, Tap
from asr.models.encoders.conformer import ConformerLayer, ConformerSizes
from asr.models.encoders.streaming import Caches, StreamingEncoder
from asr.nn.attention import build_positions
from asr.nn.chunks import Chunking, Chunkings, attend_chunk, chunk_table, visible
from asr.nn.dropout import Dropout, StochasticDepth
from asr.nn.subsampling import Subsampling, SubsamplingConfig
from asr.types import EncoderOutput


class StreamingConformerConfig(ConformerSizes):
    """Sizes of a streaming Conformer, and the chunks that it learns from. Frames are the encoder's: 40 ms as a rule."""

    name: Literal["streaming_conformer"] = "streaming_conformer"
    kernel_size: PositiveInt = 15  # this frame and those before it
    min_chunk: PositiveInt = 2  # frames; a training step draws from so many
    max_chunk: PositiveInt = 32  # to so many, each octave as often as any other
    full_context: float = Field(default=0.5, ge=0.0, le=1.0)  # share of views of a batch in which attention sees all
    left_context: PositiveInt = 64  # frames before its chunk that a frame sees, rounded up to whole chunks

    @model_validator(mode="after")
    def _orders_chunks(self) -> Self:
        if self.min_chunk > self.max_chunk:
            raise ValueError(f"min_chunk {self.min_chunk} is above max_chunk {self.max_chunk}")
        return self

    @classmethod
    def tiny(cls) -> StreamingConformerConfig:
        subsampling = SubsamplingConfig(channels=4)
        return cls(dim=16, num_layers=2, num_heads=2, ff_dim=24, kernel_size=5, left_context=6, subsampling=subsampling)


@ENCODERS.register(StreamingConformerConfig)
class StreamingConformer(StreamingEncoder):
    """Convolutional subsampling, then Conformer layers with causal convolutions.

    An encoder frame sees no features after those that it stands for. Caches: the last frame of each stage of the
    subsampling, how many frames of left context there are (B,), and of each layer keys and values (B, 2, H, L, E)
    and the convolution's past (B, kernel_size - 1, D).
    """

    def __init__(self, config: StreamingConformerConfig, num_features: int) -> None:
        super().__init__()
        self.config = config
        self.num_layers = config.num_layers
        self.output_dim = config.dim
        self.num_features = num_features
        self.subsampling = Subsampling(config.subsampling, num_features, config.dim)
        self.dropout = Dropout(config.dropout)
        self.positions = build_positions(config.positions, config.dim, config.num_heads)
        self.layers = nn.ModuleList(ConformerLayer(config, causal=True) for _ in range(config.num_layers))
        self.layer_drop = nn.ModuleList(
            StochasticDepth(config.stochastic_depth * index / config.num_layers)
            for index in range(1, config.num_layers + 1)
        )

    @property
    def subsampling_factor(self) -> int:
        return self.subsampling.factor

    def output_lens(self, lens: Tensor) -> Tensor:
        return self.subsampling.output_lens(lens)

    def default_left_chunks(self, chunk_frames: int) -> int:
        return -(-self.config.left_context // chunk_frames)

    def draw_chunks(self, rng: np.random.Generator, num_views: int = 1) -> Chunkings:
        """Views share one number that says who sees all: of two views, with half of the context full, always one does.

        Consistency between them (CR-CTC) then teaches chunks what the whole utterance shows.
        """
        shares = (rng.random() + np.arange(num_views) / num_views) % 1.0
        return tuple(None if share < self.config.full_context else self._draw(rng) for share in shares)

    def _draw(self, rng: np.random.Generator) -> Chunking:
        low, high = math.log(self.config.min_chunk), math.log(self.config.max_chunk + 1)
        frames = min(int(math.exp(rng.uniform(low, high))), self.config.max_chunk)
        return Chunking(frames, self.default_left_chunks(frames))

    def forward(
        self, features: Tensor, lens: Tensor, tap: Tap | None = None, chunks: Chunkings | None = None
    ) -> EncoderOutput:
        frames, lens = self.subsampling(features, lens)
        frames = self.dropout(frames)
        masks = FrameMasks(lens, frames.shape[1])
        if isinstance(chunks, Chunking) or (chunks is not None and any(chunks)):
            num_rows, num_frames = frames.shape[:2]
            masks.attention = visible(masks.attention, num_rows, num_frames, chunks, frames.device)
        table = self.positions(frames)
        for index, (layer, layer_drop) in enumerate(zip(self.layers, self.layer_drop, strict=True), start=1):
            frames = layer_drop(frames, layer(frames, masks, table))
            if tap is not None:
                frames = tap(index, frames)
        return EncoderOutput(frames, lens)

    def init_caches(self, rows: int, chunking: Chunking) -> Caches:
        config, weight = self.config, self.subsampling.project.weight
        count = torch.zeros(rows, dtype=torch.int64, device=weight.device)
        head_dim = config.dim // config.num_heads
        keys_values = weight.new_zeros(rows, 2, config.num_heads, chunking.left_frames, head_dim)
        past = weight.new_zeros(rows, config.kernel_size - 1, config.dim)
        return (*self.subsampling.init_cache(rows), count, *(keys_values, past) * config.num_layers)

    def encode_chunk(
        self, features: Tensor, lens: Tensor, caches: Caches, chunking: Chunking, tap: Tap | None
    ) -> tuple[Tensor, Tensor, Caches]:
        num_stages = len(self.subsampling.stages)
        frames, lens, stages = self.subsampling.step(features, lens, caches[:num_stages])
        count, *of_layers = caches[num_stages:]
        padding = padding_mask(lens, frames.shape[1])
        is_known = ~padding_mask(count, chunking.left_frames).flip(1)  # the frames before stand at the right end
        mask = torch.cat([is_known, ~padding], dim=1)[:, None, None, :]
        table = chunk_table(self.positions, chunking.left_frames + frames.shape[1], frames.device)
        following: list[Tensor] = []
        for index, layer in enumerate(self.layers, start=1):
            past = of_layers[2 * index - 2], of_layers[2 * index - 1]
            frames, keys_values, convolved = _layer_step(layer, frames, past, padding, mask, table)
            following += [keys_values[:, :, :, frames.shape[1] :], convolved]
            if tap is not None:
                frames = tap(index, frames)
        count = (count + lens).clamp(max=chunking.left_frames)
        return frames, lens, (*stages, count, *following)


def _layer_step(
    layer: nn.Module, x: Tensor, past: tuple[Tensor, Tensor], padding: Tensor, mask: Tensor, table: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One layer over the next frames (B, c, D): frames, all keys and values (B, 2, H, L + c, E), convolution's past."""
    assert isinstance(layer, ConformerLayer)
    x = torch.add(x, layer.feed_forward_in(x), alpha=0.5)
    key, value = past[0].unbind(1)
    branch, keys_values = attend_chunk(layer.attention, x, (key, value), mask, table)
    x = x + branch
    branch, convolved = layer.convolution.step(x, padding, past[1])
    x = x + branch
    x = torch.add(x, layer.feed_forward_out(x), alpha=0.5)
    return layer.norm(x), torch.stack(keys_values, dim=1), convolved
