"""The LSTM decoder that listens, attends and spells (Chan et al. 2016), with location-aware attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from asr.models.heads.base import HEADS, NamedHeadConfig
from asr.models.heads.decoder import Decoder
from asr.nn.dropout import Dropout
from asr.nn.location_attention import LocationAttention, uniform_weights
from asr.nn.token_embedding import token_embedding
from asr.nn.token_output import TokenOutput
from asr.text.sentences import with_start
from asr.text.vocabulary import Vocabulary
from asr.types import EncoderOutput


class LstmDecoderConfig(NamedHeadConfig):
    """Sizes of an LSTM decoder; the attention looks at `kernel_size` of its previous weights around each frame."""

    name: Literal["lstm"] = "lstm"
    dim: PositiveInt = 256
    num_layers: PositiveInt = 1
    attention_dim: PositiveInt = 128  # numbers that attention compares
    num_filters: PositiveInt = 10  # of the attention before, which attention sees, too
    kernel_size: PositiveInt = 31
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _fits(self) -> LstmDecoderConfig:
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size} must be odd; use {self.kernel_size + 1}")
        return self

    @classmethod
    def tiny(cls) -> LstmDecoderConfig:
        return cls(dim=12, num_layers=2, attention_dim=8, num_filters=3, kernel_size=5)


@dataclass(frozen=True)
class LstmState:
    """What N rows of a search remember, and the frames they look at."""

    hidden: tuple[Tensor, ...]  # (N, D) of each layer
    cell: tuple[Tensor, ...]  # (N, D) of each layer
    context: Tensor  # (N, M) what the last look saw
    weights: Tensor  # (N, S) where the last look went
    memory: Tensor  # (N, S, M) encoder frames
    keys: Tensor  # (N, S, A)
    lens: Tensor  # (N,)


@HEADS.register(LstmDecoderConfig)
class LstmDecoder(Decoder[LstmState]):
    """Each step reads the last token and the last context, moves on, looks at the frames and predicts."""

    def __init__(self, config: LstmDecoderConfig, encoder_dim: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        dim = config.dim
        self.dim = dim
        self.embedding = token_embedding(len(vocabulary), dim)
        input_dims = [dim + encoder_dim] + [dim] * (config.num_layers - 1)
        self.cells = nn.ModuleList(nn.LSTMCell(input_dim, dim) for input_dim in input_dims)
        self.attention = LocationAttention(
            dim, encoder_dim, config.attention_dim, config.num_filters, config.kernel_size
        )
        self.join = nn.Linear(dim + encoder_dim, dim)
        self.dropout = Dropout(config.dropout)
        self.output = TokenOutput(dim, len(vocabulary), vocabulary.never_predicted)

    def forward(self, encoded: EncoderOutput, tokens: Tensor, token_lens: Tensor) -> Tensor:
        state = self.init_state(encoded)
        spoken = []
        for embedded in self.dropout(self.embedding(with_start(tokens, token_lens, self.vocabulary))).unbind(1):
            joined, state = self._advance(embedded, state)
            spoken.append(joined)
        log_probs: Tensor = self.output(torch.stack(spoken, dim=1))
        return log_probs

    def init_state(self, encoded: EncoderOutput) -> LstmState:
        memory = encoded.frames
        nothing = memory.new_zeros(len(memory), self.dim)
        return LstmState(
            hidden=(nothing,) * len(self.cells),
            cell=(nothing,) * len(self.cells),
            context=memory.new_zeros(len(memory), memory.shape[2]),
            weights=uniform_weights(encoded.lens, memory.shape[1], memory.dtype),
            memory=memory,
            keys=self.attention.keys(memory),
            lens=encoded.lens,
        )

    def step(self, tokens: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        joined, state = self._advance(self.dropout(self.embedding(tokens)), state)
        return self.output(joined), state

    def reorder(self, state: LstmState, index: Tensor) -> LstmState:
        return LstmState(
            hidden=tuple(hidden[index] for hidden in state.hidden),
            cell=tuple(cell[index] for cell in state.cell),
            context=state.context[index],
            weights=state.weights[index],
            memory=state.memory[index],
            keys=state.keys[index],
            lens=state.lens[index],
        )

    def _advance(self, embedded: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """One token's embedding (N, D) -> what to predict from (N, D), and the state after it."""
        x = torch.cat([embedded, state.context], dim=-1)
        hidden, cells = [], []
        for cell, h, c in zip(self.cells, state.hidden, state.cell, strict=True):
            h, c = cell(x, (h, c))
            hidden.append(h)
            cells.append(c)
            x = self.dropout(h)
        context, weights = self.attention(x, state.keys, state.memory, state.lens, state.weights)
        joined = self.dropout(torch.tanh(self.join(torch.cat([x, context], dim=-1))))
        return joined, LstmState(tuple(hidden), tuple(cells), context, weights, state.memory, state.keys, state.lens)
