"""Subwords by byte-pair encoding (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909)."""

from __future__ import annotations

from typing import Literal

from asr.text.tokenizer.base import TOKENIZERS
from asr.text.tokenizer.sentence_piece import SentencePieceTokenizer, SubwordConfig


class BpeConfig(SubwordConfig):
    """Subwords made by merging the most frequent pair of neighbours again and again."""

    name: Literal["bpe"] = "bpe"

    @classmethod
    def tiny(cls) -> BpeConfig:
        return cls(vocab_size=40)


@TOKENIZERS.register(BpeConfig)
class BpeTokenizer(SentencePieceTokenizer):
    """The split of a text replays the merges in the order they were learnt."""
