"""What a request to the engine gives, by name, in this order: anything but the last two, then one of these."""

from __future__ import annotations

from dataclasses import dataclass

from asr.types import Segment, Transcript


@dataclass(frozen=True)
class Partial:
    """The segment that is being spoken, as far as it is known; the next one, or a SegmentReady, replaces it."""

    segment: Segment


@dataclass(frozen=True)
class SegmentReady:
    """A segment that will not change."""

    segment: Segment


@dataclass(frozen=True)
class SpeechStarted:
    """Of a stream that asked for its turns: an utterance begins, at so many seconds; its events follow."""

    seconds: float


@dataclass(frozen=True)
class SpeechStopped:
    """Its speech ended, at so many seconds; the rest of its segments follow."""

    seconds: float
    num_segments: int  # that follow


@dataclass(frozen=True)
class Progress:
    """So much audio has been read, of all channels together, and all segments that were complete by then are out."""

    seconds: float


@dataclass(frozen=True)
class Done:
    """All segments, in order of their starts."""

    transcript: Transcript
    seconds: float  # of the recording
    has_speech: bool = True  # False: the detector found none
    is_narrow: bool = False  # True: it holds nothing above 4 kHz, though the model hears more


@dataclass(frozen=True)
class Failed:
    """Why there will be no more segments: a recording that breaks off, or whatever else a request ran into.

    `concurrent.futures.CancelledError` where it was cancelled.
    """

    error: Exception


Event = Partial | SegmentReady | SpeechStarted | SpeechStopped | Progress | Done | Failed
