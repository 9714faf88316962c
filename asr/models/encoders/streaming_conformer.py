"""A Conformer for audio that is still coming in, and for whole utterances: one model for every latency.

Convolutions see the past only; attention sees chunks and a limited number of frames before them. Trained with chunks
of random sizes and, half of the time, with all of the utterance ("dynamic chunks" of Zhang et al. 2020, "Unified
streaming and non-streaming two-pass end-to-end model for speech recognition"), it streams with any chunk from one frame
on, and recognises whole utterances with attention to all of them.

A stream may look ahead (`right_context`): a chunk waits for some frames behind it, which every layer sees and which
come again with the next chunk. A Conformer trained on whole utterances alone can stream so, too (`causal: false`).
"""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
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
    kernel_size: PositiveInt = 15  # this frame and those before it, or around it where convolutions are not causal
    causal: bool = True  # False: convolutions see both sides, as in a `conformer`, whose weights then fit as they are
    min_chunk: PositiveInt = 2  # frames; a training step draws from so many
    max_chunk: PositiveInt = 32  # to so many, each octave as often as any other
    full_context: float = Field(default=0.5, ge=0.0, le=1.0)  # share of views of a batch in which attention sees all
    left_context: PositiveInt = 64  # frames before its chunk that a frame sees, rounded up to whole chunks
    right_context: NonNegativeInt = 0  # frames behind a chunk that a stream waits for; no matter of training

    @model_validator(mode="after")
    def _looks_ahead(self) -> Self:
        if not self.causal and not self.right_context:
            raise ValueError("with causal: false a stream needs a right_context, such as 12 frames")
        return self

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

    Frames of the subsampling see no features after those that they stand for. Caches: the last frame of each stage of
    the subsampling, how many frames of left context there are (B,), and of each layer keys and values (B, 2, H, L, E)
    and the convolution's past (B, kernel_size - 1, D), half as much if it is not causal.
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
        self.layers = nn.ModuleList(ConformerLayer(config, causal=config.causal) for _ in range(config.num_layers))
        self.layer_drop = nn.ModuleList(
            StochasticDepth(config.stochastic_depth * index / config.num_layers)
            for index in range(1, config.num_layers + 1)
        )

    looks_ahead = True

    @property
    def default_right_frames(self) -> int:
        return self.config.right_context

    @property
    def subsampling_factor(self) -> int:
        return self.subsampling.factor

    def output_lens(self, lens: Tensor) -> Tensor:
        return self.subsampling.output_lens(lens)

    def default_left_chunks(self, chunk_frames: int) -> int:
        return -(-self.config.left_context // chunk_frames)

    def draw_chunks(self, rng: np.random.Generator, num_views: int = 1) -> Chunkings:
        """None with convolutions that are not causal: no mask makes of them what they are in a stream.

        Views share one number that says who sees all: of two views, with half of the context full, always one does.

        Consistency between them (CR-CTC) then teaches chunks what the whole utterance shows.
        """
        if not self.config.causal:
            return (None,) * num_views
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
        if isinstance(chunks, tuple) and not any(chunks):
            chunks = None
        assert self.config.causal or chunks is None, "convolutions would see behind a chunk"
        if chunks is not None:
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
        num_past = config.kernel_size - 1 if config.causal else config.kernel_size // 2
        past = weight.new_zeros(rows, num_past, config.dim)
        return (*self.subsampling.init_cache(rows), count, *(keys_values, past) * config.num_layers)

    def encode_chunk(
        self, features: Tensor, lens: Tensor, caches: Caches, chunking: Chunking, tap: Tap | None
    ) -> tuple[Tensor, Tensor, Caches]:
        num_stages, size = len(self.subsampling.stages), chunking.frames * self.subsampling_factor
        frames, own_lens, stages = self.subsampling.step(features[:, :size], lens.clamp(max=size), caches[:num_stages])
        if chunking.right:
            ahead, _, _ = self.subsampling.step(features[:, size:], (lens - size).clamp(min=0), stages)
            frames = torch.cat([frames, ahead], dim=1)
        count, *of_layers = caches[num_stages:]
        padding = padding_mask(self.output_lens(lens), frames.shape[1])
        is_known = ~padding_mask(count, chunking.left_frames).flip(1)  # the frames before stand at the right end
        mask = torch.cat([is_known, ~padding], dim=1)[:, None, None, :]
        table = chunk_table(self.positions, chunking.left_frames + frames.shape[1], frames.device)
        following: list[Tensor] = []
        for index, layer in enumerate(self.layers, start=1):
            past = of_layers[2 * index - 2], of_layers[2 * index - 1]
            frames, keys_values, convolved = _layer_step(layer, frames, past, padding, mask, table, chunking.frames)
            kept = slice(chunking.frames, chunking.frames + chunking.left_frames)
            following += [keys_values[:, :, :, kept], convolved]
            if tap is not None:
                frames = tap(index, frames)
        count = (count + own_lens).clamp(max=chunking.left_frames)
        return frames[:, : chunking.frames], own_lens, (*stages, count, *following)


def _layer_step(
    layer: nn.Module,
    x: Tensor,
    past: tuple[Tensor, Tensor],
    padding: Tensor,
    mask: Tensor,
    table: Tensor,
    num_kept: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """One layer over the next n frames (B, n, D): frames, all keys and values (B, 2, H, L + n, E), convolution's past.

    Of these frames `num_kept` have their turn, the others come again.
    """
    assert isinstance(layer, ConformerLayer)
    x = torch.add(x, layer.feed_forward_in(x), alpha=0.5)
    key, value = past[0].unbind(1)
    branch, keys_values = attend_chunk(layer.attention, x, (key, value), mask, table)
    x = x + branch
    branch, convolved = layer.convolution.step(x, padding, past[1], num_kept)
    x = x + branch
    x = torch.add(x, layer.feed_forward_out(x), alpha=0.5)
    return layer.norm(x), torch.stack(keys_values, dim=1), convolved
