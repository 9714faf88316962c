"""What all writers have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from asr.transcribe.subtitles import DEFAULT_RULES, SubtitleRules
from asr.types import Transcript


@dataclass(frozen=True)
class TranscriptSource:
    """Where a transcript comes from."""

    audio: str  # path as the user gave it
    duration: float  # seconds
    model: str  # model folder
    version: str  # of the toolkit
    dtype: str | None = None  # of the model's arithmetic: float32, or fewer bits


class Writer(Protocol):
    """A transcript as the text of a file. Only formats for subtitles heed the rules."""

    def __call__(
        self, transcript: Transcript, source: TranscriptSource, rules: SubtitleRules = DEFAULT_RULES, /
    ) -> str: ...  # pragma: no cover


def channel_label(channel: int | None) -> str:
    """What stands before a text where the channels of a recording were transcribed apart: "[1] "."""
    return "" if channel is None else f"[{channel + 1}] "
