"""What every decoder promises, and the registry they are filed under."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from asr.registry import Registry
from asr.types import EncoderOutput

State = TypeVar("State")


class Decoder(nn.Module, ABC, Generic[State]):
    """Token by token from encoder frames: B utterances, U tokens, N rows of a search, V vocabulary.

    Constructor: (config, encoder_dim, vocab_size). Log-probabilities are at least float32 and -inf for blank and SOS.
    An utterance without encoder frames gives finite answers.
    """

    @abstractmethod
    def forward(self, encoded: EncoderOutput, tokens: Tensor, token_lens: Tensor) -> Tensor:
        """Teacher forcing: tokens (B, U) without SOS -> log-probabilities (B, U + 1, V); row u predicts token u.

        What `tokens` holds beyond `token_lens` (B,) does not matter, nor does the output there.
        """

    @abstractmethod
    def init_state(self, encoded: EncoderOutput) -> State:
        """The state before SOS, one row for each utterance. States are never changed in place."""

    @abstractmethod
    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Feed each row's last token (N,), SOS first; log-probabilities (N, V) of the next one, and the state after."""

    @abstractmethod
    def reorder(self, state: State, index: Tensor) -> State:
        """The state whose rows are the given ones (M,) int64; rows may repeat, and need not all be taken."""


DECODERS: Registry[type[Decoder[Any]]] = Registry("decoder")
