"""Models small enough for any test, with random weights."""

from __future__ import annotations

from asr.models.asr_model import AsrModel, build_model
from asr.models.encoders import ENCODERS
from asr.models.encoders.base import BaseEncoderConfig
from asr.models.heads import HEADS
from asr.models.heads.base import NamedHeadConfig
from asr.text.vocabulary import Vocabulary

BLANK, UNK, SOS, EOS = range(4)


def vocabulary_of(size: int) -> Vocabulary:
    """A vocabulary in our own layout whose other pieces are letters."""
    letters = tuple(chr(ord("a") + number) for number in range(size - 4))
    return Vocabulary(("<blank>", "<unk>", "<s>", "</s>", *letters), BLANK, UNK, SOS, EOS)


def tiny_model(
    *heads: str | NamedHeadConfig, num_features: int, vocab_size: int, encoder: str | BaseEncoderConfig = "conformer"
) -> AsrModel:
    """An encoder with heads, by name or configuration, from torch's default generator."""
    config = ENCODERS.config(encoder).tiny() if isinstance(encoder, str) else encoder
    chosen = [HEADS.config(head).tiny() if isinstance(head, str) else head for head in heads]
    return build_model(config, chosen, num_features, {"main": vocabulary_of(vocab_size)})
