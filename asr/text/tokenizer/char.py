"""Single characters, and one token for the space between words."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from asr.registry import NamedConfig
from asr.text.tokenizer.base import TOKENIZERS
from asr.text.tokenizer.sentence_piece import SentencePieceTokenizer


class CharConfig(NamedConfig):
    """Every character of the training texts."""

    name: Literal["char"] = "char"


@TOKENIZERS.register(CharConfig)
class CharTokenizer(SentencePieceTokenizer):
    """A text of N characters, spaces included, is N tokens: no token stands for a space before the first word."""

    word_boundary = "separator"
    trainer_options: ClassVar[dict[str, Any]] = {"use_all_vocab": True, "add_dummy_prefix": False}
