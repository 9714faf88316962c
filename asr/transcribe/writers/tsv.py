"""Tables."""

from __future__ import annotations

from asr.transcribe.display import one_line
from asr.transcribe.subtitles import DEFAULT_RULES, SubtitleRules
from asr.transcribe.timeline import milliseconds, recording_end
from asr.transcribe.writers.base import TranscriptSource
from asr.types import Transcript


def to_tsv(transcript: Transcript, source: TranscriptSource, _rules: SubtitleRules = DEFAULT_RULES, /) -> str:
    """A row of start, end and text, between tabs, for every segment below a header; times in whole milliseconds.

    That is the table that Whisper writes. Where the channels were transcribed apart, a last column counts them from 0.
    """
    limit = recording_end(transcript, source.duration)
    has_channels = any(segment.channel is not None for segment in transcript.segments)
    rows = [["start", "end", "text"] + ["channel"] * has_channels]
    for segment in transcript.segments:
        times = [str(milliseconds(moment, limit)) for moment in (segment.start, segment.end)]
        rows.append([*times, one_line(segment.text)] + [_channel(segment.channel)] * has_channels)
    return "".join("\t".join(row) + "\n" for row in rows)


def _channel(channel: int | None) -> str:
    return "" if channel is None else str(channel)
