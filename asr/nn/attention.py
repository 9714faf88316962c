"""Multi-head attention: over a sequence itself (plain, rotary or relative positions) and over an encoder's frames.

B batch, S frames or tokens, D model dim, H heads, E = D / H, K keys.
Masks say where attention may look (True = allowed) and broadcast to (B, H, S, K).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.lengths import padding_mask
from asr.nn.dropout import Dropout
from asr.nn.kernels import attend, is_traced, rotate, shift_distances
from asr.nn.positions import RelativePositions, RotaryPositions

PositionKind = Literal["rotary", "relative"]
KeyValue = tuple[Tensor, Tensor]  # each (B, H, K, E)


def attention_mask(lens: Tensor, max_len: int) -> Tensor:
    """Allowed keys (B, 1, 1, max_len); a row of length 0 may look at its first, since a softmax over nothing is NaN."""
    return ~padding_mask(lens.clamp(min=1), max_len)[:, None, None, :]


class SelfAttention(nn.Module):
    """Pre-norm residual branch (B, S, D) -> (B, S, D) of attention among frames, without positions."""

    def __init__(self, dim: int, num_heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        assert dim % num_heads == 0, "dim must be a multiple of num_heads"
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)
        self.attention_dropout = Dropout(attention_dropout)
        nn.init.xavier_uniform_(self.query_key_value.weight, gain=1 / math.sqrt(2))

    def forward(self, x_BSD: Tensor, mask: Tensor | None, table: Tensor | None = None) -> Tensor:
        """`mask` None allows everything; `table` comes from the positions module of the same kind."""
        query, key, value = self.project(x_BSD)
        return self.finish(self._attend(query, key, value, mask, table))

    def project(self, x_BSD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, S, E)."""
        projected = self.query_key_value(self.norm(x_BSD)).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value

    def finish(self, context_BHSE: Tensor) -> Tensor:
        """Join the heads and project: (B, S, D)."""
        branch: Tensor = self.dropout(self.out(context_BHSE.transpose(1, 2).flatten(2)))
        return branch

    def step(
        self, x_B1D: Tensor, past: KeyValue, mask: Tensor | None = None, table: Tensor | None = None
    ) -> tuple[Tensor, KeyValue]:
        """The branch for one frame after those of `past`, and their keys and values with its own at the end.

        `table` holds the position of the one frame; the keys of `past` have theirs already.
        """
        query, key, value = self.project(x_B1D)
        query, key = self._with_positions(query, key, table)
        key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        return self.finish(attend(query, key, value, mask, self.attention_dropout.share)), (key, value)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, table: Tensor | None) -> Tensor:
        query, key = self._with_positions(query, key, table)
        return attend(query, key, value, mask, self.attention_dropout.share)

    def _with_positions(self, query: Tensor, key: Tensor, table: Tensor | None) -> tuple[Tensor, Tensor]:
        """Queries and keys with their positions in them."""
        assert table is None, "plain attention has no positions"
        return query, key


class RotaryAttention(SelfAttention):
    """Self-attention that turns queries and keys by their position (Su et al. 2021)."""

    def _with_positions(self, query: Tensor, key: Tensor, table: Tensor | None) -> tuple[Tensor, Tensor]:
        assert table is not None, "rotary attention needs a table"
        return rotate(query, table), rotate(key, table)


class RelativeAttention(SelfAttention):
    """Self-attention with scores from content and from distance, as in Transformer-XL (Dai et al. 2019)."""

    def __init__(self, dim: int, num_heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__(dim, num_heads, dropout, attention_dropout)
        self.position = nn.Linear(dim, dim, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(num_heads, 1, dim // num_heads))
        self.position_bias = nn.Parameter(torch.zeros(num_heads, 1, dim // num_heads))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, table: Tensor | None) -> Tensor:
        assert table is not None, "relative attention needs a table"
        distances = self.position(table.to(self.position.weight.dtype)).unflatten(-1, (self.num_heads, -1))
        scores = (query + self.position_bias.to(query.dtype)) @ distances.permute(1, 2, 0)
        bias = shift_distances(scores) / math.sqrt(query.shape[-1])
        if mask is not None:
            bias = bias.masked_fill(~mask, -math.inf)
        return attend(query + self.content_bias.to(query.dtype), key, value, bias, self.attention_dropout.share)

    def _with_positions(self, query: Tensor, key: Tensor, table: Tensor | None) -> tuple[Tensor, Tensor]:
        raise AssertionError("relative attention scores distances: queries and keys by themselves have no positions")


class CrossAttention(nn.Module):
    """Pre-norm residual branch (B, U, D) -> (B, U, D) of attention over an encoder's frames (B, S, memory_dim)."""

    def __init__(self, dim: int, memory_dim: int, num_heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        assert dim % num_heads == 0, "dim must be a multiple of num_heads"
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(memory_dim, 2 * dim)
        self.kept_dtype: torch.dtype | None = None  # of keys and values that steps read; None is that of the product
        self.out = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)
        self.attention_dropout = Dropout(attention_dropout)
        nn.init.xavier_uniform_(self.query.weight)
        nn.init.xavier_uniform_(self.key_value.weight)

    def memory(self, frames: Tensor) -> KeyValue:
        """Keys and values (B, H, S, E) of the encoder's frames; computed once, used for every token."""
        projected = self.key_value(frames).unflatten(-1, (2, self.num_heads, -1))
        key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)
        return key, value

    def kept_memory(self, frames: Tensor, lens: Tensor, step: int = 1) -> KeyValue:
        """The same where tokens come one by one, without gradients; frames beyond `lens` (B,) are 0.

        Zeros follow up to a multiple of `step` frames.

        On CPU they are laid out as one query reads them fastest, and made row by row: the product of all rows, in
        float32 and with keys beside values, would be several times as large.
        """
        if is_traced():
            return self.memory(frames)
        if frames.device.type != "cpu" or torch.is_grad_enabled():
            return self.memory(F.pad(frames, (0, 0, 0, -frames.shape[1] % step)))
        kept: list[Tensor] = []
        for row, length in enumerate(lens.tolist()):
            own = self.key_value(frames[row, :length]).unflatten(-1, (2, self.num_heads, -1))
            if not kept:
                room = len(frames), frames.shape[1] + -frames.shape[1] % step
                kept = _room_for_memory(own, *room, self.kept_dtype or own.dtype)
            for part, made in zip(kept, own.unbind(1), strict=True):
                part[row, :, :length] = made.transpose(0, 1)
        return (kept[0], kept[1]) if kept else self.memory(F.pad(frames, (0, 0, 0, -frames.shape[1] % step)))

    def forward(self, x_BUD: Tensor, key: Tensor, value: Tensor, lens: Tensor) -> Tensor:
        """`lens` (B,) counts the valid frames; where there are none the context is zero."""
        return self.look(x_BUD, key, value, attention_mask(lens, key.shape[2]), lens == 0)

    def look(self, x_BUD: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, empty: Tensor | None) -> Tensor:
        """The same with the mask at hand, as `attend` takes it; `empty` (B,) says where there are no frames, if any."""
        query = self.query(self.norm(x_BUD)).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        context = attend(query, key, value, mask, self.attention_dropout.share)
        if empty is not None:
            context = context.masked_fill(empty[:, None, None, None], 0.0)
        branch: Tensor = self.dropout(self.out(context.transpose(1, 2).flatten(2)))
        return branch


def _room_for_memory(like: Tensor, num_rows: int, num_frames: int, dtype: torch.dtype) -> list[Tensor]:
    """Zeros for keys and values (B, H, S, E) of so many rows and frames, given those (..., H, E) of one row."""
    heads, size = like.shape[-2:]
    room = torch.zeros(2, num_rows, heads, num_frames * size, dtype=dtype)
    key, value = room.unbind(0)
    if dtype == torch.bfloat16:
        return [key.unflatten(2, (-1, size)), value.unflatten(2, (-1, size))]
    # products of float32 take half of the time with keys as columns
    return [key.unflatten(2, (size, -1)).transpose(-1, -2), value.unflatten(2, (-1, size))]


def build_positions(kind: PositionKind, dim: int, num_heads: int) -> RotaryPositions | RelativePositions:
    """The module that makes the table all layers of an encoder share."""
    return RotaryPositions(dim // num_heads) if kind == "rotary" else RelativePositions(dim)


def build_attention(
    kind: PositionKind, dim: int, num_heads: int, dropout: float, attention_dropout: float
) -> SelfAttention:
    """The self-attention that reads tables of that kind."""
    attention = RotaryAttention if kind == "rotary" else RelativeAttention
    return attention(dim, num_heads, dropout, attention_dropout)
