"""Words with times for scoring tools."""

from __future__ import annotations

from pathlib import Path

from asr.transcribe.display import one_line
from asr.transcribe.subtitles import DEFAULT_RULES, SubtitleRules
from asr.transcribe.timeline import by_channel, milliseconds, recording_end
from asr.transcribe.writers.base import TranscriptSource
from asr.types import Transcript, Word


def to_ctm(transcript: Transcript, source: TranscriptSource, _rules: SubtitleRules = DEFAULT_RULES, /) -> str:
    """NIST CTM: a line "recording channel start duration word confidence" for every word, channel after channel.

    The recording is the file's name without suffix; white space in names and words is replaced. Channels count from 1.
    The confidence is left out where there is none. What has no times has no lines.
    """
    recording = _one_token(Path(source.audio).stem) or "-"
    if recording.startswith(";;"):
        recording = f"_{recording}"  # or every line would be a comment
    limit = recording_end(transcript, source.duration)
    return "".join(
        f"{recording} {(channel or 0) + 1} {_word(word, limit)}\n"
        for channel, segments in by_channel(transcript).items()
        for segment in segments
        for word in segment.words
        if _one_token(word.text)
    )


def _word(word: Word, limit: int) -> str:
    start, end = milliseconds(word.start, limit), milliseconds(word.end, limit)
    confidence = "" if word.confidence is None else f" {word.confidence:.4f}"
    return f"{start / 1000:.3f} {(end - start) / 1000:.3f} {_one_token(word.text)}{confidence}"


def _one_token(text: str) -> str:
    return "_".join(one_line(text).split())
