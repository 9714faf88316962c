"""What people and programs see of speech while it is spoken."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from asr import __version__
from asr.errors import UsageError
from asr.registry import did_you_mean
from asr.system.runtime import write_text_atomic
from asr.transcribe.display import display_width, one_line
from asr.transcribe.events import Done, Event, Failed, Partial, SegmentReady
from asr.transcribe.streaming.engine import LiveStream
from asr.transcribe.writers import SUFFIXES, WRITERS, TranscriptSource
from asr.types import Segment, Transcript

Show = Callable[[Event], None]
GREY, PLAIN, CLEAR = "\x1b[90m", "\x1b[0m", "\r\x1b[K"
UNKNOWN_COLUMNS = 80


def listen(stream: LiveStream, blocks: Iterable[np.ndarray], shows: Iterable[Show]) -> bool:
    """Push blocks as they come and show what becomes known; raises what the stream failed with.

    Ctrl-C ends the audio; what was said until then is still recognised and shown. Whether it was that.
    """
    shows = tuple(shows)

    def show(event: Event) -> None:
        if isinstance(event, Failed):
            raise event.error
        for one in shows:
            one(event)

    is_interrupted = False
    try:
        for block in blocks:
            stream.push(block)
            for event in stream.events_now():
                show(event)
    except KeyboardInterrupt:
        is_interrupted = True
    stream.finish()
    for event in stream:
        show(event)
    return is_interrupted


class TextView:
    """One line for each segment. On a terminal what is not final stands below in grey, as far as a line goes."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._is_live = self._out.isatty()

    def __call__(self, event: Event) -> None:
        if isinstance(event, SegmentReady) and event.segment.text:
            self._write(f"{CLEAR if self._is_live else ''}{one_line(event.segment.text)}\n")
        elif isinstance(event, Partial) and self._is_live:
            self._write(f"{CLEAR}{GREY}{self._end_of(one_line(event.segment.text))}{PLAIN}")
        elif isinstance(event, Done) and self._is_live:
            self._write(CLEAR)

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()

    def _end_of(self, text: str) -> str:
        """The last words, where all are too many for a line."""
        try:
            columns = os.get_terminal_size(self._out.fileno()).columns or UNKNOWN_COLUMNS
        except (OSError, ValueError):
            columns = UNKNOWN_COLUMNS
        if display_width(text) < columns:
            return text
        while text and display_width(text) >= columns - 1:
            text = text[1:]
        return f"\u2026{text}"


class JsonlView:
    """One JSON object a line for each event: `type` is partial, final or done."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def __call__(self, event: Event) -> None:
        if (row := event_to_json(event)) is not None:
            self._out.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._out.flush()


def event_to_json(event: Event) -> dict[str, Any] | None:
    """An event for programs; None for those that they need not know of."""
    match event:
        case Partial(segment):
            return {"type": "partial", "start": _time(segment.start), "end": _time(segment.end), "text": segment.text}
        case SegmentReady(segment):
            return {"type": "final", **_segment_to_json(segment)}
        case Done(transcript, seconds):
            return {"type": "done", "duration": _time(seconds), "text": transcript.text}
    return None


def _segment_to_json(segment: Segment) -> dict[str, Any]:
    words = [
        {"start": _time(word.start), "end": _time(word.end), "text": word.text, "confidence": word.confidence}
        for word in segment.words
    ]
    return {
        "start": _time(segment.start),
        "end": _time(segment.end),
        "text": segment.text,
        "confidence": segment.confidence,
        "words": words,
    }


def _time(seconds: float) -> float:
    """To the millisecond."""
    return round(seconds, 3)


class FileView:
    """Keeps a file of any format of `asr transcribe` up to date: written anew, whole, with every segment."""

    def __init__(self, path: Path, source: str, model: str) -> None:
        """UsageError for a suffix that names no format."""
        suffixes = {SUFFIXES.get(name, name).lower(): writer for name, writer in WRITERS.items()}
        suffix = path.suffix.removeprefix(".").lower()
        if suffix not in suffixes:
            raise UsageError(f"{path}: its suffix names no format{did_you_mean(suffix, suffixes)}")
        self._path = path
        self._writer = suffixes[suffix]
        self._source = source
        self._model = model
        self._segments: list[Segment] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, SegmentReady):
            self._segments.append(event.segment)
            self._save(event.segment.end)
        elif isinstance(event, Done):
            self._save(event.seconds)

    def _save(self, seconds: float) -> None:
        source = TranscriptSource(self._source, seconds, self._model, __version__)
        write_text_atomic(self._path, self._writer(Transcript(tuple(self._segments)), source))
