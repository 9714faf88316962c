"""Plain text."""

from __future__ import annotations

from asr.transcribe.display import one_line
from asr.transcribe.subtitles import DEFAULT_RULES, SubtitleRules
from asr.transcribe.writers.base import TranscriptSource, channel_label
from asr.types import Transcript


def to_txt(transcript: Transcript, _source: TranscriptSource, _rules: SubtitleRules = DEFAULT_RULES, /) -> str:
    """One line per segment."""
    return "".join(f"{channel_label(segment.channel)}{one_line(segment.text)}\n" for segment in transcript.segments)
