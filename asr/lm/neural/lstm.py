"""The LSTM language model (Sundermeyer et al. 2012), with dropout between its layers (Zaremba et al. 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from asr.lm.neural.base import LANGUAGE_MODELS, NeuralLm, NeuralLmConfig
from asr.nn.kernels import recur
from asr.text.sentences import with_start
from asr.text.vocabulary import Vocabulary


class LstmLmConfig(NeuralLmConfig):
    """Sizes of an LSTM language model; tokens are read as `dim` values, too."""

    name: Literal["lstm"] = "lstm"
    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)

    @classmethod
    def tiny(cls) -> LstmLmConfig:
        return cls(dim=12)


@dataclass(frozen=True)
class LstmState:
    """What N rows remember."""

    hidden: Tensor  # (L, N, D) of L layers
    cell: Tensor  # (L, N, D)


@LANGUAGE_MODELS.register(LstmLmConfig)
class LstmLm(NeuralLm[LstmState]):
    """Embedding, layers of one direction, prediction."""

    def __init__(self, config: LstmLmConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        self.dim = config.dim
        # each layer by itself, since dropout between the layers of one module would be torch's, which is slow on CPU
        self.layers = nn.ModuleList(nn.LSTM(config.dim, config.dim, batch_first=True) for _ in range(config.num_layers))

    def forward(self, tokens: Tensor, token_lens: Tensor) -> Tensor:
        state = self.init_state(len(tokens), tokens.device)
        return self._advance(with_start(tokens, token_lens, self.vocabulary), state)[0]

    def init_state(self, num_rows: int, device: torch.device) -> LstmState:
        nothing = self.output.linear.weight.new_zeros(len(self.layers), num_rows, self.dim, device=device)
        return LstmState(nothing, nothing)

    def step(self, tokens: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        log_probs, state = self._advance(tokens[:, None], state)
        return log_probs[:, 0], state

    def reorder(self, state: LstmState, index: Tensor) -> LstmState:
        return LstmState(state.hidden[:, index], state.cell[:, index])

    def concat(self, first: LstmState, second: LstmState) -> LstmState:
        return LstmState(
            torch.cat([first.hidden, second.hidden], dim=1),
            torch.cat([first.cell, second.cell], dim=1),
        )

    def _advance(self, tokens: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """Tokens (N, U) after those of the state -> log-probabilities (N, U, V), and the state after them."""
        x = self.embed(tokens)
        hidden, cells = [], []
        for layer, h, c in zip(self.layers, state.hidden.split(1), state.cell.split(1), strict=True):
            x, (h, c) = recur(layer, x, (h, c))
            x = self.dropout(x)
            hidden.append(h)
            cells.append(c)
        return self.output(x), LstmState(torch.cat(hidden), torch.cat(cells))
