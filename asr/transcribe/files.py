"""Transcribes many recordings: what fails is reported, the rest is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from asr import __version__
from asr.audio.channels import SPLIT, Channels
from asr.errors import AudioError
from asr.transcribe.inputs import Recording
from asr.transcribe.pipeline import Ended, Heard, Pipeline, Reached, Track
from asr.transcribe.recognizer import BLOCK_SECONDS
from asr.transcribe.writers import Source
from asr.types import Segment, Transcript


@dataclass(frozen=True)
class Done:
    """A recording that was transcribed."""

    recording: Recording
    transcript: Transcript
    source: Source
    has_speech: bool = True  # False: the detector found none


@dataclass(frozen=True)
class Failed:
    """A recording that cannot be transcribed, and why."""

    recording: Recording
    reason: str


@dataclass(frozen=True)
class _Part:
    """Which recording a track is of, and which of its channels."""

    recording: Recording
    channel: int | None
    is_last: bool


def transcribe_files(
    pipeline: Pipeline,
    recordings: Sequence[Recording],
    sample_rate: int,
    model: str,
    *,
    channel: Channels = None,
    on_segment: Callable[[Recording, Segment], None] = lambda *_: None,
    on_read: Callable[[Recording, float], None] = lambda *_: None,
) -> Iterator[Done | Failed]:
    """One result for each recording, in order, at a model's `sample_rate` in Hz; `model` is its name.

    `channel` counts from 0; None is the mean of all, SPLIT recognises each by itself and merges their segments in time.
    `on_segment` is told each segment as it is ready, `on_read` how many more seconds of a recording have been read.
    """
    segments: list[Segment] = []
    problem = ""
    num_spans = 0
    longest = reached = 0.0  # seconds of the recording, and of the track that goes on
    for event in pipeline.run(_tracks(recordings, sample_rate, channel)):
        part: _Part = event.key
        if isinstance(event, Heard):
            segments.append(replace(event.segment, channel=part.channel if channel == SPLIT else None))
            on_segment(part.recording, segments[-1])
        elif isinstance(event, Reached):
            on_read(part.recording, event.seconds - reached)
            reached = event.seconds
        elif isinstance(event, Ended):
            num_spans += event.num_spans
            problem = problem or (str(event.error) if event.error is not None else "")
            longest, reached = max(longest, event.seconds), 0.0
            if not part.is_last:
                continue
            if problem:
                yield Failed(part.recording, problem)
            else:
                in_time = sorted(segments, key=lambda segment: segment.start)
                source = Source(part.recording.name, longest, model, __version__)
                yield Done(part.recording, Transcript(tuple(in_time)), source, has_speech=num_spans > 0)
            segments, problem, longest, num_spans = [], "", 0.0, 0


def _tracks(recordings: Sequence[Recording], sample_rate: int, channel: Channels) -> Iterator[Track]:
    for recording in recordings:
        channels = _channels(recording, channel)
        for number in channels:
            part = _Part(recording, number, is_last=number == channels[-1])
            yield Track(part, partial(recording.blocks, sample_rate, BLOCK_SECONDS, number))


def _channels(recording: Recording, channel: Channels) -> Sequence[int | None]:
    if channel != SPLIT:
        return (channel,)
    try:
        return range(recording.info().num_channels)
    except AudioError:
        return (None,)  # reading it says so
