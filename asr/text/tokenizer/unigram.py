"""Subwords of a unigram language model (Kudo 2018, https://arxiv.org/abs/1804.10959)."""

from __future__ import annotations

from typing import Literal

from asr.text.tokenizer.base import TOKENIZERS
from asr.text.tokenizer.sentence_piece import SentencePieceTokenizer, SubwordConfig


class UnigramConfig(SubwordConfig):
    """Subwords kept while they help the likelihood of the training texts."""

    name: Literal["unigram"] = "unigram"

    @classmethod
    def tiny(cls) -> UnigramConfig:
        return cls(vocab_size=40)


@TOKENIZERS.register(UnigramConfig)
class UnigramTokenizer(SentencePieceTokenizer):
    """The split of a text is its most likely one."""
