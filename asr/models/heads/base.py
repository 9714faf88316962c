"""What every head promises, and the registry they are filed under.

A head stands on an encoder and owns everything that turns its frames into text: the output layer, the loss it learns
by, the search people use by default, where a text lies in the audio, and how long an utterance has to be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from asr.losses.weights import LossConfig
from asr.registry import NamedConfig, Registry
from asr.text.vocabulary import Vocabulary
from asr.types import MAIN_TOKENIZER, Batch, EncoderOutput

TOTAL = ""  # the name of a head's own loss, beside which it may have others


class NamedHeadConfig(NamedConfig):
    """What all heads can be given: a name of their own in the model, and one of the model's tokenizers."""

    id: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]+$")  # the kind's name where none is given
    tokenizer: str = MAIN_TOKENIZER
    search_defaults: ClassVar[Mapping[str, Any]] = {}  # of searches that the user names, by setting

    @property
    def head_id(self) -> str:
        """What the head is called in the model, in loss weights, in logs and in the names of its weights."""
        return self.id or self.name


class Head(nn.Module, ABC):
    """From encoder frames to text. Constructor: (config, encoder_dim, vocabulary).

    B utterances, S encoder frames, U tokens, V vocabulary.
    """

    default_search: ClassVar[str]  # what decodes with this head alone, if nobody chose a search

    def __init__(self, config: NamedHeadConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.id = config.head_id
        self.tokenizer = config.tokenizer
        self.vocabulary = vocabulary

    @abstractmethod
    def losses(self, encoded: EncoderOutput, batch: Batch, config: LossConfig) -> dict[str, Tensor]:
        """Unweighted losses (B,) of every row by name; TOTAL is the one that the head's weight multiplies first.

        The others are helpers whose weights `config` holds; one without weight is left out.
        """

    def loss_names(self, config: LossConfig, *, has_intermediate: bool) -> list[str]:
        """The names that `losses` uses with these settings."""
        return [TOTAL]

    @staticmethod
    def min_frames(tokens: Sequence[int]) -> int:
        """Encoder frames that an utterance of these tokens needs for this head to learn from it."""
        return 1

    def align(self, encoded: EncoderOutput, texts: Sequence[Sequence[int]]) -> list[np.ndarray | None] | None:
        """Where in its utterance each token lies: (U, 2) encoder frames, from and up to, for each row's tokens.

        None for a text that does not fit its audio; None instead of the list for a head that cannot tell.
        """
        return None


HEADS: Registry[type[Any]] = Registry("head")
