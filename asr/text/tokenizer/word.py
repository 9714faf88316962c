"""Whole words, for small closed vocabularies such as digits and commands."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from asr.registry import NamedConfig
from asr.text.tokenizer.base import TOKENIZERS
from asr.text.tokenizer.sentence_piece import SentencePieceTokenizer


class WordConfig(NamedConfig):
    """Every word of the training texts."""

    name: Literal["word"] = "word"


@TOKENIZERS.register(WordConfig)
class WordTokenizer(SentencePieceTokenizer):
    """One token a word; a word that was not in the training texts is unknown."""

    trainer_options: ClassVar[dict[str, Any]] = {"use_all_vocab": True}
