"""The Transformer language model, pre-norm, with rotary positions (Vaswani et al. 2017, Su et al. 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from asr.lengths import padding_mask
from asr.lm.neural.base import LANGUAGE_MODELS, NeuralLm, NeuralLmConfig
from asr.nn.attention import KeyValue, RotaryAttention
from asr.nn.feed_forward import FeedForward
from asr.nn.positions import RotaryPositions
from asr.text.sentences import with_start
from asr.text.vocabulary import Vocabulary


class TransformerLmConfig(NeuralLmConfig):
    """Sizes of a Transformer language model."""

    name: Literal["transformer"] = "transformer"
    num_layers: PositiveInt = 4
    num_heads: PositiveInt = 4
    ff_dim: PositiveInt = 1024
    attention_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _fits(self) -> TransformerLmConfig:
        if self.dim % (2 * self.num_heads):
            raise ValueError(f"dim {self.dim} must be an even multiple of num_heads {self.num_heads}")
        return self

    @classmethod
    def tiny(cls) -> TransformerLmConfig:
        return cls(dim=16, num_layers=2, num_heads=2, ff_dim=24)


@dataclass(frozen=True)
class TransformerState:
    """Keys and values of what N rows have been fed, K tokens at most, in each layer.

    A row's tokens stand at the end, so that the next one is added there for all rows; what stands before them is
    padding. Keys know their positions, counted from the row's own start.
    """

    lens: Tensor  # (N,) tokens fed
    layers: tuple[KeyValue, ...]  # (N, H, K, E) each


class TransformerLmLayer(nn.Module):
    """Self-attention and feed-forward: (B, U, D) -> (B, U, D)."""

    def __init__(self, config: TransformerLmConfig) -> None:
        super().__init__()
        self.attention = RotaryAttention(config.dim, config.num_heads, config.dropout, config.attention_dropout)
        self.feed_forward = FeedForward(config.dim, config.ff_dim, config.dropout)

    def forward(self, x: Tensor, causal: Tensor, table: Tensor) -> Tensor:
        return self._widen(x + self.attention(x, causal, table))

    def step(self, x: Tensor, past: KeyValue, mask: Tensor, table: Tensor) -> tuple[Tensor, KeyValue]:
        """One token (N, 1, D) after the past ones; also the keys and values with this token's added."""
        branch, seen = self.attention.step(x, past, mask, table)
        return self._widen(x + branch), seen

    def _widen(self, x: Tensor) -> Tensor:
        widened: Tensor = self.feed_forward(x)
        return x + widened


@LANGUAGE_MODELS.register(TransformerLmConfig)
class TransformerLm(NeuralLm[TransformerState]):
    """Embedding, layers that see earlier tokens, LayerNorm, prediction."""

    def __init__(self, config: TransformerLmConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        self.scale = math.sqrt(config.dim)  # of embeddings, whose vectors are about as long as 1
        self.num_heads, self.head_dim = config.num_heads, config.dim // config.num_heads
        self.positions = RotaryPositions(self.head_dim)
        self.layers = nn.ModuleList(TransformerLmLayer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, tokens: Tensor, token_lens: Tensor) -> Tensor:
        x = self.embed(with_start(tokens, token_lens, self.vocabulary)) * self.scale
        length = x.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        table = self.positions(x)
        for layer in self._layers:
            x = layer(x, causal, table)
        return self._predict(x)

    def init_state(self, num_rows: int, device: torch.device) -> TransformerState:
        nothing = self.norm.weight.new_zeros(num_rows, self.num_heads, 0, self.head_dim, device=device)
        lens = torch.zeros(num_rows, dtype=torch.int64, device=device)
        return TransformerState(lens, ((nothing, nothing),) * len(self.layers))

    def step(self, tokens: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        x = self.embed(tokens[:, None]) * self.scale
        exact = torch.promote_types(x.dtype, torch.float32)
        table = self.positions.at(state.lens.to(exact))[:, :, None, None]
        lens = state.lens + 1
        num_keys = state.layers[0][0].shape[2] + 1
        seen_keys = padding_mask(num_keys - lens, num_keys)[:, None, None]  # all but the padding in front
        layers = []
        for layer, past in zip(self._layers, state.layers, strict=True):
            x, seen = layer.step(x, past, seen_keys, table)
            layers.append(seen)
        return self._predict(x)[:, 0], TransformerState(lens, tuple(layers))

    def reorder(self, state: TransformerState, index: Tensor) -> TransformerState:
        lens = state.lens[index]
        longest = int(lens.max()) if len(lens) else 0
        first = state.layers[0][0].shape[2] - longest
        layers = tuple((key[index, :, first:], value[index, :, first:]) for key, value in state.layers)
        return TransformerState(lens, layers)

    def concat(self, first: TransformerState, second: TransformerState) -> TransformerState:
        pairs = zip(first.layers, second.layers, strict=True)
        layers = tuple((_join(one[0], other[0]), _join(one[1], other[1])) for one, other in pairs)
        return TransformerState(torch.cat([first.lens, second.lens]), layers)

    @property
    def _layers(self) -> list[TransformerLmLayer]:
        return cast("list[TransformerLmLayer]", list(self.layers))

    def _predict(self, x: Tensor) -> Tensor:
        log_probs: Tensor = self.output(self.norm(x))
        return log_probs


def _join(first: Tensor, second: Tensor) -> Tensor:
    """Rows (N, H, K, E) and (M, H, L, E) in one (N + M, H, max(K, L), E), the shorter ones padded in front."""
    longest = max(first.shape[2], second.shape[2])
    padded = [F.pad(rows, (0, 0, longest - rows.shape[2], 0)) for rows in (first, second)]
    return torch.cat(padded)
