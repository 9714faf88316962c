"""JSON, as docs/transcript.schema.json defines it."""

from __future__ import annotations

import json
from typing import Any

from asr.transcribe.display import SURROGATES
from asr.transcribe.subtitles import DEFAULT_RULES, SubtitleRules
from asr.transcribe.timeline import milliseconds, recording_end
from asr.transcribe.writers.base import TranscriptSource
from asr.types import Segment, Transcript, Word

MEASURES = ("avg_logprob", "no_speech", "compression_ratio")


def to_json(transcript: Transcript, source: TranscriptSource, _rules: SubtitleRules = DEFAULT_RULES, /) -> str:
    """One JSON object on one line, so that several make JSON Lines. Times are seconds, confidences 0..1 or null."""
    limit = recording_end(transcript, source.duration)
    value = {
        "audio": source.audio,
        "duration": round(source.duration, 3),
        "text": transcript.text,
        "segments": [_segment(segment, limit) for segment in transcript.segments],
        "model": source.model,
        "version": source.version,
        **({} if source.dtype is None else {"dtype": source.dtype}),
        "language": transcript.language,
        "uncovered": [[milliseconds(moment, limit) / 1000 for moment in stretch] for stretch in transcript.uncovered],
    }
    return SURROGATES.sub("\ufffd", json.dumps(value, ensure_ascii=False)) + "\n"


def _segment(segment: Segment, limit: int) -> dict[str, Any]:
    return {
        **_timed(segment, limit),
        "words": [_timed(word, limit) for word in segment.words],
        **({} if segment.channel is None else {"channel": segment.channel}),
        **({} if segment.language is None else {"language": segment.language}),
        **{name: round(segment.measures[name], 4) for name in MEASURES if name in segment.measures},
    }


def _timed(item: Segment | Word, limit: int) -> dict[str, Any]:
    """Times to the millisecond, finer than any search can tell, and confidence to four digits."""
    return {
        "start": milliseconds(item.start, limit) / 1000,
        "end": milliseconds(item.end, limit) / 1000,
        "text": item.text,
        "confidence": None if item.confidence is None else round(item.confidence, 4),
    }
