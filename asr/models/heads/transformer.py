"""The Transformer decoder (Vaswani et al. 2017), pre-norm."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from asr.models.heads.base import HEADS, NamedHeadConfig
from asr.models.heads.decoder import Decoder
from asr.nn.attention import CrossAttention, KeyValue, SelfAttention, attention_mask
from asr.nn.dropout import Dropout
from asr.nn.feed_forward import FeedForward
from asr.nn.kernels import additive, attend, is_traced
from asr.nn.positions import sinusoids
from asr.nn.token_cache import LayerTokens, TokenCache
from asr.nn.token_embedding import token_embedding
from asr.nn.token_output import TokenOutput
from asr.text.sentences import with_start
from asr.text.vocabulary import Vocabulary
from asr.types import EncoderOutput

KEYS_STEP = 64  # frames are padded to a multiple of it: a row's sums then do not depend on how many frames others have


class TransformerDecoderConfig(NamedHeadConfig):
    """Sizes of a Transformer decoder."""

    name: Literal["transformer"] = "transformer"
    dim: PositiveInt = 144
    num_layers: PositiveInt = 3
    num_heads: PositiveInt = 4
    ff_dim: PositiveInt = 576
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    attention_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _fits(self) -> TransformerDecoderConfig:
        if self.dim % 2 or self.dim % self.num_heads:
            raise ValueError(f"dim {self.dim} must be even and a multiple of num_heads {self.num_heads}")
        return self

    @classmethod
    def tiny(cls) -> TransformerDecoderConfig:
        return cls(dim=16, num_layers=2, num_heads=2, ff_dim=24)


@dataclass(frozen=True)
class RowGroups:
    """The N rows of a search by their B utterances: keys and values of frames are kept once for all rows of a group."""

    slots: Tensor  # (N,) utterance * size + which of its rows
    size: int  # rows of the largest group

    @property
    def are_rows(self) -> bool:
        """Whether row n is utterance n, as in a greedy search; False where to know would take long."""
        if self.size != 1 or is_traced() or self.slots.device.type != "cpu":
            return False
        return bool((self.slots == torch.arange(len(self.slots))).all())

    def group(self, x: Tensor, num_utterances: int) -> Tensor:
        """Rows (N, 1, D) -> (B, size, D); slots without a row are 0."""
        slots = x.new_zeros(num_utterances * self.size, x.shape[2]).index_copy(0, self.slots, x[:, 0])
        return slots.view(num_utterances, self.size, -1)

    def ungroup(self, x: Tensor) -> Tensor:
        """(B, size, D) -> rows (N, 1, D)."""
        return x.flatten(0, 1)[self.slots, None]

    def reorder(self, index: Tensor) -> tuple[RowGroups, Tensor]:
        """The groups of the rows `index` (M,), and which utterances still have rows."""
        kept, utterances, sizes = (self.slots // self.size)[index].unique(return_inverse=True, return_counts=True)
        order = utterances.argsort(stable=True)
        firsts = (sizes.cumsum(0) - sizes)[utterances[order]]
        places = torch.empty_like(order).index_copy(0, order, torch.arange(len(order), device=order.device) - firsts)
        size = int(sizes.max()) if len(index) else 1
        return RowGroups(utterances * size + places, size), kept


@dataclass(frozen=True)
class TransformerState:
    """Keys and values of each layer: of the tokens of N rows so far, and of the frames of their B utterances."""

    position: int  # tokens so far
    tokens: TokenCache  # of each row
    frames: tuple[KeyValue, ...]  # of each utterance
    frame_lens: Tensor  # (B,)
    groups: RowGroups
    frame_mask: Tensor  # (B, 1, 1, S) added to scores, -inf where there is padding


@dataclass(frozen=True)
class FrameLook:
    """How rows look at frames: what all layers of a step share."""

    mask: Tensor  # (B, 1, 1, S)
    empty: Tensor  # (B,) which utterances have no frames
    groups: RowGroups | None  # None: row n is utterance n


class TransformerDecoderLayer(nn.Module):
    """Causal self-attention, attention to the encoder, feed-forward: (B, U, D) -> (B, U, D)."""

    def __init__(self, config: TransformerDecoderConfig, encoder_dim: int) -> None:
        super().__init__()
        dim, heads, dropout = config.dim, config.num_heads, config.dropout
        self.attention = SelfAttention(dim, heads, dropout, config.attention_dropout)
        self.cross_attention = CrossAttention(dim, encoder_dim, heads, dropout, config.attention_dropout)
        self.feed_forward = FeedForward(dim, config.ff_dim, dropout)

    def forward(self, x: Tensor, causal: Tensor, frames: KeyValue, frame_lens: Tensor) -> Tensor:
        x = x + self.attention(x, causal)
        x = x + self.cross_attention(x, *frames, frame_lens)
        widened: Tensor = self.feed_forward(x)
        return x + widened

    def step(self, x: Tensor, past: LayerTokens, frames: KeyValue, look: FrameLook) -> Tensor:
        """One token (N, 1, D) after those of `past`, which takes in its keys and values."""
        query, key, value = self.attention.project(x)
        x = x + self.attention.finish(attend(query, *past.append(key, value)))
        if look.groups is None:
            x = x + self.cross_attention.look(x, *frames, look.mask, look.empty)
        else:
            grouped = look.groups.group(x, look.empty.shape[0])
            x = x + look.groups.ungroup(self.cross_attention.look(grouped, *frames, look.mask, look.empty))
        widened: Tensor = self.feed_forward(x)
        return x + widened


@HEADS.register(TransformerDecoderConfig)
class TransformerDecoder(Decoder[TransformerState]):
    """Absolute sinusoidal positions, then layers that see earlier tokens and all frames."""

    def __init__(self, config: TransformerDecoderConfig, encoder_dim: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        self.embedding = token_embedding(len(vocabulary), config.dim)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(TransformerDecoderLayer(config, encoder_dim) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.dim)
        self.output = TokenOutput(config.dim, len(vocabulary), vocabulary.never_predicted)

    def forward(self, encoded: EncoderOutput, tokens: Tensor, token_lens: Tensor) -> Tensor:
        x = self._embed(with_start(tokens, token_lens, self.vocabulary), position=0)
        length = x.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        for layer in self._layers:
            x = layer(x, causal, layer.cross_attention.memory(encoded.frames), encoded.lens)
        return self._predict(x)

    def init_state(self, encoded: EncoderOutput) -> TransformerState:
        step = 1 if is_traced() or encoded.frames.device.type != "cpu" else KEYS_STEP
        frames = tuple(layer.cross_attention.kept_memory(encoded.frames, encoded.lens, step) for layer in self._layers)
        groups = RowGroups(torch.arange(len(encoded.lens), device=encoded.lens.device), size=1)
        mask = additive(attention_mask(encoded.lens, frames[0][0].shape[2]), frames[0][0].dtype)
        is_kept_smaller = self._layers[0].cross_attention.kept_dtype is not None
        cache = TokenCache.empty(len(self.layers), frames[0][0], encoded.frames.dtype if is_kept_smaller else None)
        return TransformerState(0, cache, frames, encoded.lens, groups, mask)

    def step(self, tokens: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        x, state = self._advance(tokens, state)
        return self._predict(x)[:, 0], state

    def _advance(self, tokens: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        """A step as far as the last layer's output (N, 1, D)."""
        x = self._embed(tokens[:, None], state.position)
        groups = None if state.groups.are_rows else state.groups
        look = FrameLook(state.frame_mask, state.frame_lens == 0, groups)
        past, kept = state.tokens.opened(state.position)
        for layer, own, frames in zip(self._layers, past, state.frames, strict=True):
            x = layer.step(x, own, frames, look)
        return x, replace(state, position=state.position + 1, tokens=kept())

    def reorder(self, state: TransformerState, index: Tensor) -> TransformerState:
        groups, kept = state.groups.reorder(index)
        frames, frame_lens, mask = state.frames, state.frame_lens, state.frame_mask
        if len(kept) < len(frame_lens):
            frames, frame_lens = (
                tuple((_rows(key, kept), _rows(value, kept)) for key, value in frames),
                frame_lens[kept],
            )
            mask = mask[kept]
        tokens = state.tokens.select(index, state.position)
        return TransformerState(state.position, tokens, frames, frame_lens, groups, mask)

    @property
    def _layers(self) -> list[TransformerDecoderLayer]:
        return cast("list[TransformerDecoderLayer]", list(self.layers))

    def _embed(self, tokens: Tensor, position: int) -> Tensor:
        x = self.embedding(tokens)
        dim = x.shape[-1]
        exact = torch.promote_types(x.dtype, torch.float32)
        positions = torch.arange(position, position + tokens.shape[1], device=x.device, dtype=exact)
        embedded: Tensor = self.dropout(x * math.sqrt(dim) + sinusoids(positions, dim).to(x.dtype))
        return embedded

    def _predict(self, x: Tensor) -> Tensor:
        log_probs: Tensor = self.output(self.norm(x))
        return log_probs


def _rows(keys: Tensor, index: Tensor) -> Tensor:
    """Rows of keys or values (B, H, S, E), laid out as these are."""
    if keys.is_contiguous() or is_traced():
        return keys[index]
    return keys.transpose(-1, -2)[index].transpose(-1, -2)
