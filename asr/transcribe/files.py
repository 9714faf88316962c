"""Transcribes many recordings: what fails is reported, the rest is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace

from asr import __version__
from asr.errors import AsrError, AudioError
from asr.transcribe.engine import DEFAULT_OPTIONS, Engine, Handle
from asr.transcribe.events import Done, Failed, Progress, SegmentReady
from asr.transcribe.recordings import Recording
from asr.transcribe.requests import RequestOptions, whole_transcript
from asr.transcribe.writers import TranscriptSource
from asr.types import Segment, Transcript

MAX_SUBMITTED = 128  # recordings that the engine knows at once, enough to fill its batches with short ones


@dataclass(frozen=True)
class Model:
    """What transcripts say of the model that made them."""

    name: str
    dtype: str | None = None


@dataclass(frozen=True)
class Transcribed:
    """A recording that was transcribed."""

    recording: Recording
    transcript: Transcript
    source: TranscriptSource
    has_speech: bool = True  # False: the detector found none
    is_narrow: bool = False  # True: it holds nothing above 4 kHz, though the model hears more
    fault: str | None = None  # why there is no more of it, where as much as can be read was asked for


@dataclass(frozen=True)
class Untranscribed:
    """A recording that cannot be transcribed, and why."""

    recording: Recording
    reason: str


def transcribe_files(
    engine: Engine,
    recordings: Iterable[Recording],
    model: str,
    *,
    dtype: str | None = None,
    options: RequestOptions = DEFAULT_OPTIONS,
    partial: bool = False,
    on_segment: Callable[[Recording, Segment], None] = lambda *_: None,
    on_read: Callable[[Recording, float], None] = lambda *_: None,
) -> Iterator[Transcribed | Untranscribed]:
    """One result for each recording, in order; `model` is the model's name, `dtype` that of its arithmetic.

    `options` are those of each request, which is a bulk one.
    `partial` gives what can be read of a recording that breaks off, with its `fault`.
    `on_segment` gets each segment as it is ready, `on_read` how many more seconds of a recording have been read.
    """
    options = replace(options, bulk=True)
    submitted: deque[tuple[Recording, Handle]] = deque()
    try:
        for recording in recordings:
            submitted.append((recording, engine.submit(recording, options)))
            if len(submitted) == MAX_SUBMITTED:
                yield _result(*submitted.popleft(), Model(model, dtype), partial, on_segment, on_read)
        while submitted:
            yield _result(*submitted.popleft(), Model(model, dtype), partial, on_segment, on_read)
    finally:
        for _, handle in submitted:
            handle.cancel()


def _result(
    recording: Recording,
    handle: Handle,
    model: Model,
    partial: bool,
    on_segment: Callable[[Recording, Segment], None],
    on_read: Callable[[Recording, float], None],
) -> Transcribed | Untranscribed:
    """Wait for all of a recording, or for what can be read of it."""
    reached = 0.0
    segments: list[Segment] = []
    try:
        for event in handle:
            if isinstance(event, SegmentReady):
                segments.append(event.segment)
                on_segment(recording, event.segment)
            elif isinstance(event, Progress):
                on_read(recording, event.seconds - reached)
                reached = event.seconds
            elif isinstance(event, Done):
                source = TranscriptSource(recording.name, event.seconds, model.name, __version__, model.dtype)
                return Transcribed(recording, event.transcript, source, event.has_speech, event.is_narrow)
            elif isinstance(event, Failed):
                if partial and reached and isinstance(event.error, AudioError):
                    in_time = whole_transcript(segments)
                    source = TranscriptSource(recording.name, reached, model.name, __version__, model.dtype)
                    return Transcribed(recording, in_time, source, fault=str(event.error))
                return Untranscribed(recording, _reason(recording, event.error))
    finally:
        handle.cancel()
    raise AssertionError("a request ends with Done or Failed")


def _reason(recording: Recording, error: Exception) -> str:
    """An error in a line; one that no other recording can escape is raised."""
    if isinstance(error, BrokenProcessPool):
        raise error
    if isinstance(error, AsrError):
        return str(error)
    return f"{recording.name}: unexpected {type(error).__name__}: {' '.join(str(error).split())}; please report it"
