"""Tokenizers by name: unigram, bpe, char, word."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from asr.registry import NamedConfig, import_siblings
from asr.text.tokenizer.base import TOKENIZERS, Tokenizer, WordSpan
from asr.text.tokenizer.char import CharConfig

import_siblings(__name__, __path__)

if TYPE_CHECKING:
    TokenizerConfig = NamedConfig
else:
    TokenizerConfig = TOKENIZERS.config_union()

__all__ = ["TOKENIZERS", "CharConfig", "Tokenizer", "TokenizerConfig", "WordSpan", "load_tokenizer", "train_tokenizer"]


def train_tokenizer(config: NamedConfig, texts: Iterable[str]) -> Tokenizer:
    """Train the configured tokenizer on normalised texts.

    The same texts give the same tokenizer to the byte. TextError if there is no text, or if they cannot fill or do not
    fit the configured vocabulary size; the message names a size that does.
    """
    return TOKENIZERS.part(config.name).train(config, texts)


def load_tokenizer(folder: Path, config: NamedConfig) -> Tokenizer:
    """Read back what `Tokenizer.save` wrote. BundleError names a missing, damaged or unfitting file."""
    return TOKENIZERS.part(config.name).load(folder, config)
