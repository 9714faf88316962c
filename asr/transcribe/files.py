"""Transcribes file after file: what fails is reported, the rest is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asr import __version__
from asr.audio.io import audio_info
from asr.errors import AudioError
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.writers import Source
from asr.types import Segment, Transcript


@dataclass(frozen=True)
class Done:
    """A file that was transcribed."""

    transcript: Transcript
    source: Source
    seconds: float  # of work


@dataclass(frozen=True)
class Failed:
    """A file that cannot be transcribed, and why."""

    audio: Path
    reason: str


def transcribe_files(
    recognizer: Recognizer, files: Iterable[Path], model: str, on_segment: Callable[[Path, Segment], None]
) -> Iterator[Done | Failed]:
    """One result per file, in order; `on_segment` is told of each segment as it is ready."""
    for audio in files:
        began = time.perf_counter()
        segments: list[Segment] = []
        try:
            source = Source(str(audio), audio_info(audio).duration, model, __version__)
            for segment in recognizer.stream_segments(audio):
                segments.append(segment)
                on_segment(audio, segment)
        except AudioError as error:
            yield Failed(audio, str(error))
        else:
            yield Done(Transcript(tuple(segments)), source, time.perf_counter() - began)
