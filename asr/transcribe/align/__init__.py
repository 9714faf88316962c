"""Placing a known text in its recording."""

from __future__ import annotations

from pathlib import Path

from asr.bundle.bundle import Bundle
from asr.decoding.base import ctc_of
from asr.errors import ConfigError
from asr.transcribe.align.aligner import Aligner
from asr.transcribe.align.by_decoder import DecoderAligner


def build_aligner(
    bundle: Bundle, folder: Path | str | None = None, language: str | None = None, *, confidence: str = "posterior"
) -> Aligner | DecoderAligner:
    """What aligns with a model: by its CTC head, or by its decoder where it has none.

    ConfigError for a model that can do neither, and for a language that it does not know.
    """
    if ctc_of(bundle.model.heads) is None:
        return DecoderAligner(bundle, folder, language)
    if language is not None:
        raise ConfigError("the model knows no languages; leave --language out")
    return Aligner(bundle, confidence=confidence)
