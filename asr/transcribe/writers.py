"""Transcripts as files: plain text and JSON. A new format is one function and one entry of `WRITERS`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asr.types import Segment, Transcript, Word


@dataclass(frozen=True)
class Source:
    """Where a transcript comes from."""

    audio: str  # path as the user gave it
    duration: float  # seconds
    model: str  # model folder
    version: str  # of the toolkit


Writer = Callable[[Transcript, Source], str]


def to_txt(transcript: Transcript, _source: Source) -> str:
    """One line per segment."""
    return "".join(f"{segment.text}\n" for segment in transcript.segments)


def to_json(transcript: Transcript, source: Source) -> str:
    """One JSON object on one line, so that several make JSON Lines. Times are seconds, confidences 0..1 or null."""
    value = {
        "audio": source.audio,
        "duration": _seconds(source.duration),
        "text": transcript.text,
        "segments": [_segment(segment) for segment in transcript.segments],
        "model": source.model,
        "version": source.version,
    }
    return json.dumps(value, ensure_ascii=False) + "\n"


WRITERS: dict[str, Writer] = {"txt": to_txt, "json": to_json}  # the name is also the suffix of the file


def _segment(segment: Segment) -> dict[str, Any]:
    return {
        "start": _seconds(segment.start),
        "end": _seconds(segment.end),
        "text": segment.text,
        "confidence": segment.confidence,
        "words": [_word(word) for word in segment.words],
    }


def _word(word: Word) -> dict[str, Any]:
    return {
        "start": _seconds(word.start),
        "end": _seconds(word.end),
        "text": word.text,
        "confidence": word.confidence,
    }


def _seconds(value: float) -> float:
    """To the millisecond, finer than any search can tell."""
    return round(value, 3)
