"""What every neural language model promises, and the registry they are filed under."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from asr.nn.dropout import Dropout
from asr.nn.token_embedding import token_embedding
from asr.nn.token_output import TokenOutput
from asr.registry import NamedConfig, Registry
from asr.text.vocabulary import Vocabulary

State = TypeVar("State")


class NeuralLmConfig(NamedConfig):
    """Settings of all neural language models; with tied embeddings one matrix reads tokens and predicts them."""

    dim: PositiveInt = 256
    num_layers: PositiveInt = 2
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    tie_embeddings: bool = True


class NeuralLm(nn.Module, ABC, Generic[State]):
    """Predicts token by token: B sentences, U tokens, N rows of a search, V vocabulary.

    Constructor: (config, vocabulary). Log-probabilities are at least float32 and -inf for the ids that are
    `never_predicted`. The methods of a state are those of `TokenScorer`.
    """

    def __init__(self, config: NeuralLmConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.output = TokenOutput(config.dim, len(vocabulary), vocabulary.never_predicted)
        # Tied (Press and Wolf 2017), the output owns the one matrix, so that it is saved and averaged once.
        self.embedding = None if config.tie_embeddings else token_embedding(len(vocabulary), config.dim)
        self.dropout = Dropout(config.dropout)

    @abstractmethod
    def forward(self, tokens: Tensor, token_lens: Tensor) -> Tensor:
        """Tokens (B, U) without start -> log-probabilities (B, U + 1, V); row u predicts token u, the last one the end.

        What `tokens` holds beyond `token_lens` (B,) does not matter, nor does the output there.
        """

    @abstractmethod
    def init_state(self, num_rows: int, device: torch.device) -> State:
        """The state before the start of so many rows. States are never changed in place."""

    @abstractmethod
    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Feed each row's last token (N,), `start` first; log-probabilities (N, V) of the next, and the state after."""

    @abstractmethod
    def reorder(self, state: State, index: Tensor) -> State:
        """The state whose rows are the given ones (M,) int64; rows may repeat, and need not all be taken."""

    @abstractmethod
    def concat(self, first: State, second: State) -> State:
        """The rows of two states in one; they may have been fed different numbers of tokens."""

    def embed(self, tokens: Tensor) -> Tensor:
        """Tokens of any shape -> vectors (..., D), after dropout."""
        weight = self.output.linear.weight if self.embedding is None else self.embedding.weight
        embedded: Tensor = self.dropout(F.embedding(tokens, weight))
        return embedded


LANGUAGE_MODELS: Registry[type[NeuralLm[Any]]] = Registry("language_model")


def build_language_model(config: NamedConfig, vocabulary: Vocabulary) -> NeuralLm[Any]:
    """The configured network over a vocabulary, with fresh weights."""
    assert isinstance(config, NeuralLmConfig)
    return LANGUAGE_MODELS.part(config.name)(config, vocabulary)
