"""What attention decoders share: they predict the next token, and learn by cross entropy."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Generic, TypeVar

from torch import Tensor

from asr.errors import ConfigError
from asr.losses.label_smoothing import label_smoothing_loss
from asr.losses.weights import LossConfig
from asr.models.heads.base import TOTAL, Head, NamedHeadConfig
from asr.text.vocabulary import Vocabulary
from asr.types import Batch, EncoderOutput

State = TypeVar("State")


class Decoder(Head, Generic[State]):
    """Token by token from encoder frames: B utterances, U tokens, N rows of a search, V vocabulary.

    Log-probabilities are at least float32 and -inf for blank and SOS. An utterance without encoder frames gives finite
    answers.
    """

    default_search = "attention_greedy"

    def __init__(self, config: NamedHeadConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        if vocabulary.sos is None or vocabulary.eos is None:
            raise ConfigError(f"head '{self.id}' needs a start and an end, which the vocabulary of its tokenizer lacks")
        self.eos = vocabulary.eos

    def losses(self, encoded: EncoderOutput, batch: Batch, config: LossConfig) -> dict[str, Tensor]:
        targets = batch.targets(self.tokenizer)
        log_probs = self(encoded, targets.tokens, targets.lens)
        loss = label_smoothing_loss(log_probs, targets.tokens, targets.lens, config.label_smoothing, eos=self.eos)
        return {TOTAL: loss}

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


AnyDecoder = Decoder[Any]
