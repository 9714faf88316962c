"""Transcripts as files. A new format is one function and one entry of `WRITERS`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.types import Segment, Transcript, Word


@dataclass(frozen=True)
class Source:
    """Where a transcript comes from."""

    audio: str  # path as the user gave it
    duration: float  # seconds
    model: str  # model folder
    version: str  # of the toolkit


SHORTEST = 1e-6  # seconds; differences below are rounding


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


def to_ctm(transcript: Transcript, source: Source) -> str:
    """NIST CTM: a line "recording channel start duration word confidence" for every word.

    The recording is the file's name without suffix, white space in it replaced; the confidence is left out where there
    is none. What has no times has no lines.
    """
    recording = "_".join(Path(source.audio).stem.split()) or "-"
    return "".join(
        f"{recording} 1 {word.start:.3f} {word.end - word.start:.3f} {word.text}"
        + ("" if word.confidence is None else f" {word.confidence:.4f}")
        + "\n"
        for segment in transcript.segments
        for word in segment.words
    )


def to_srt(transcript: Transcript, _source: Source) -> str:
    """SubRip subtitles: a numbered cue for every segment."""
    return "".join(
        f"{number}\n{_clock(segment.start)} --> {_clock(segment.end)}\n{segment.text}\n\n"
        for number, segment in enumerate(transcript.segments, start=1)
    )


def to_textgrid(transcript: Transcript, source: Source) -> str:
    """A Praat TextGrid in the long format, with the tiers "segments" and "words"; what lies between is empty."""
    segments = [(segment.start, segment.end, segment.text) for segment in transcript.segments]
    words = [(word.start, word.end, word.text) for segment in transcript.segments for word in segment.words]
    end = max([source.duration, *(stop for _, stop, _ in segments + words)])
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {end:.6f}",
        "tiers? <exists>",
        "size = 2",
        "item []:",
    ]
    for number, (name, spans) in enumerate((("segments", segments), ("words", words)), start=1):
        intervals = _fill_gaps(spans, end)
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += ["        xmin = 0", f"        xmax = {end:.6f}", f"        intervals: size = {len(intervals)}"]
        for place, (start, stop, text) in enumerate(intervals, start=1):
            lines += [
                f"        intervals [{place}]:",
                f"            xmin = {start:.6f}",
                f"            xmax = {stop:.6f}",
            ]
            lines.append(f'            text = "{text.replace(chr(34), chr(34) * 2)}"')
    return "\n".join(lines) + "\n"


# By the name of a format, which is also the suffix of its file but for `SUFFIXES`.
WRITERS: dict[str, Writer] = {"txt": to_txt, "json": to_json, "ctm": to_ctm, "srt": to_srt, "textgrid": to_textgrid}
SUFFIXES = {"textgrid": "TextGrid"}


def _fill_gaps(spans: Sequence[tuple[float, float, str]], end: float) -> list[tuple[float, float, str]]:
    """Intervals without gaps from 0 to `end`; Praat takes no interval without a length."""
    intervals: list[tuple[float, float, str]] = []
    reached = 0.0
    for start, stop, text in spans:
        if start - reached > SHORTEST:
            intervals.append((reached, start, ""))
            reached = start
        if stop - reached > SHORTEST:
            intervals.append((reached, stop, text))
            reached = stop
    if end - reached > SHORTEST or not intervals:
        intervals.append((reached, end, ""))
    return [*intervals[:-1], (intervals[-1][0], end, intervals[-1][2])]


def _clock(seconds: float) -> str:
    """hours:minutes:seconds,milliseconds"""
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d},{milliseconds % 1000:03d}"


def _segment(segment: Segment) -> dict[str, Any]:
    return {
        "start": _seconds(segment.start),
        "end": _seconds(segment.end),
        "text": segment.text,
        "confidence": _share(segment.confidence),
        "words": [_word(word) for word in segment.words],
    }


def _word(word: Word) -> dict[str, Any]:
    return {
        "start": _seconds(word.start),
        "end": _seconds(word.end),
        "text": word.text,
        "confidence": _share(word.confidence),
    }


def _seconds(value: float) -> float:
    """To the millisecond, finer than any search can tell."""
    return round(value, 3)


def _share(value: float | None) -> float | None:
    """To four digits, more than a confidence can mean."""
    return None if value is None else round(value, 4)
