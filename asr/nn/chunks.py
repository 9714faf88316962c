"""Attention over chunks: which frames a streaming encoder may look at, all at once and chunk after chunk.

B batch, S frames, c frames of a chunk, L frames of left context, D model dim, H heads, E = D / H.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from asr.nn.attention import KeyValue, RelativeAttention, RotaryAttention, SelfAttention
from asr.nn.kernels import attend, rotate
from asr.nn.positions import RelativePositions, RotaryPositions, sinusoids


@dataclass(frozen=True)
class Chunking:
    """A frame sees all of its own chunk, the `left` chunks before it and, in a stream, `right` frames behind it."""

    frames: int  # of the encoder in a chunk, at least 1
    left: int  # chunks, at least 0
    right: int = 0  # frames that a chunk waits for; no mask of a whole utterance is like that

    @property
    def left_frames(self) -> int:
        """The frames before its own chunk that a frame sees at most."""
        return self.frames * self.left


Chunkings = Chunking | tuple[Chunking | None, ...]
"""The chunks of all rows of a batch, or of each of its equal parts (its views); None for those that see all."""


def chunk_mask(num_frames: int, chunking: Chunking, device: torch.device) -> Tensor:
    """Bool (S, S), True where the frame of a row may look at the frame of a column."""
    assert chunking.right == 0, "what is ahead of one chunk is seen by no other"
    chunk = torch.arange(num_frames, device=device) // chunking.frames
    behind = chunk[:, None] - chunk
    return (behind >= 0) & (behind <= chunking.left)


def visible(
    attention: Tensor | None, num_rows: int, num_frames: int, chunks: Chunkings, device: torch.device
) -> Tensor:
    """The mask (B or 1, 1, S, S) of chunks and of `attention` (B, 1, 1, S) together, None for no padding.

    Every frame may see itself, also padding: a softmax over nothing would be NaN, and go on from there.
    """
    if isinstance(chunks, Chunking):
        allowed = chunk_mask(num_frames, chunks, device)[None, None]
    else:
        assert num_rows % len(chunks) == 0, "views of a batch have equally many rows"
        everything = torch.ones(num_frames, num_frames, dtype=torch.bool, device=device)
        masks = [everything if one is None else chunk_mask(num_frames, one, device) for one in chunks]
        allowed = torch.stack(masks).repeat_interleave(num_rows // len(chunks), dim=0)[:, None]
    if attention is not None:
        allowed = allowed & attention
    return allowed | torch.eye(num_frames, dtype=torch.bool, device=device)


def chunk_table(positions: RotaryPositions | RelativePositions, num_keys: int, device: torch.device) -> Tensor:
    """The table for `attend_chunk` with so many keys, those of the left context included."""
    if isinstance(positions, RotaryPositions):
        return positions.at(torch.arange(num_keys, device=device, dtype=torch.float64))
    distances = torch.arange(num_keys - 1, -num_keys, -1, device=device, dtype=torch.float64)
    return sinusoids(distances, positions.dim)


def attend_chunk(
    attention: SelfAttention, x_BSD: Tensor, past: KeyValue, mask: Tensor, table: Tensor
) -> tuple[Tensor, KeyValue]:
    """The branch (B, c, D) for the next c frames after L of `past`, and all L + c keys and values, without positions.

    `mask` (B, 1, 1, L + c) is True where attention may look, `table` comes from `chunk_table`. What counts is how far
    frames are apart: where a chunk stands in its recording does not matter.
    """
    query, key, value = attention.project(x_BSD)
    key, value = torch.cat([past[0].to(key.dtype), key], dim=2), torch.cat([past[1].to(value.dtype), value], dim=2)
    num_past = key.shape[2] - query.shape[2]
    if isinstance(attention, RotaryAttention):
        table = table.to(torch.promote_types(query.dtype, torch.float32))
        context = attend(rotate(query, table[:, num_past:]), rotate(key, table), value, mask)
    else:
        assert isinstance(attention, RelativeAttention), "attention without positions does not stream"
        context = _attend_relative(attention, query, key, value, mask, table)
    return attention.finish(context), (key, value)


def _attend_relative(
    attention: RelativeAttention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, table: Tensor
) -> Tensor:
    """As `RelativeAttention` for the last rows of a square: query i is frame L + i, distances start at L + c - 1."""
    num_queries, num_keys = query.shape[2], key.shape[2]
    distances = attention.position(table.to(attention.position.weight.dtype)).unflatten(-1, (attention.num_heads, -1))
    scores = (query + attention.position_bias.to(query.dtype)) @ distances.permute(1, 2, 0)
    query_frame = torch.arange(num_keys - num_queries, num_keys, device=query.device)
    column = num_keys - 1 - query_frame[:, None] + torch.arange(num_keys, device=query.device)
    bias = scores.gather(-1, column.expand(*scores.shape[:2], -1, -1)) / math.sqrt(query.shape[-1])
    bias = bias.masked_fill(~mask, -math.inf)
    return attend(query + attention.content_bias.to(query.dtype), key, value, bias)
