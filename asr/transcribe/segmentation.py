"""Recordings of any length in bounded memory: a stream of samples becomes the spans that hold speech.

A detector gives the probability of speech for every frame of some 30 ms. Speech is a sound that keeps to `offset` and
is at `onset` or above for `min_speech`; it goes on over pauses shorter than `min_pause`. A span is such a stretch with
`padding` around it, or half of the pause if that is shorter. One longer than `max_span` is cut at the quietest point of
its second half, if there is a pause; where there is none, two spans share `overlap` seconds, and
`asr.transcribe.overlaps` makes one text of both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from asr.audio.vad import VADS, SileroVadConfig, Vad, VadConfig, VadStream
from asr.config_errors import validate
from asr.config_overrides import with_overrides
from asr.registry import Config
from asr.transcribe.long_form import pause_depth, quietest_point

NO_VAD = "none"  # its name on a command line
EVERYTHING_FRAME = 0.04  # seconds between looks where there is no detector
MIN_SILENCE = 0.1  # seconds without speech that are a pause, however loud
PAUSE_DEPTH_DB = 12.0  # a quiet point so far below its surroundings lies between words, not in one


class SegmentationConfig(Config):
    """What counts as speech, and how much of it a model takes at once. Times are seconds.

    All but one of AN4's training utterances hold 0.15 s that Silero gives 0.9; of ESC-10's hundred clips of noise two
    do. Of isolated digits of 0.4 s a third do not. Padding of a second keeps what a model was trained with around
    an utterance: transcribed one by one and joined, AN4's dev utterances differ in 0.1 to 0.4 % of their words, by the
    gaps between them; with padding of 0.4 s in 3.2 %.
    """

    vad: VadConfig | None = SileroVadConfig()  # without one, everything is speech
    onset: float = Field(default=0.9, gt=0, le=1)  # probability that is taken for certain
    offset: float = Field(default=0.3, ge=0, le=1)  # probability below which there is none
    min_speech: float = Field(default=0.15, ge=0)  # shorter sounds are none
    min_pause: float = Field(default=0.8, gt=0)  # shorter ones part no segments
    padding: float = Field(default=1.0, ge=0)  # around speech, that the model hears, too
    min_recording: float = Field(default=1.5, ge=0)  # a shorter one is taken whole: a detector needs time to judge
    max_span: float = Field(default=20.0, ge=1)  # words must fit
    overlap: float = Field(default=3.0, ge=0)  # of the two parts where longer speech is cut without a pause
    merge: bool = True  # spans of a recording share a window, for models that hear windows of a fixed length

    @model_validator(mode="after")
    def _fits(self) -> SegmentationConfig:
        if self.offset > self.onset:
            raise ValueError("offset is above onset; speech would end where it begins")
        if 2 * self.overlap > self.max_span:
            raise ValueError("overlap is more than half of max_span")
        return self


DEFAULT_SEGMENTATION = SegmentationConfig()


def segmentation_config(vad: str | None, max_span: float | None, overrides: Sequence[str] = ()) -> SegmentationConfig:
    """The defaults with another detector (NO_VAD: none), another limit and `segmentation.key=value` overrides.

    ConfigError for an unknown detector or key and for values that do not go together.
    """
    settings: dict[str, Any] = {"vad": {"name": vad}} if vad is not None else {}
    if vad == NO_VAD:
        settings["vad"] = None
    if max_span is not None:
        settings |= {"max_span": max_span, "overlap": min(DEFAULT_SEGMENTATION.overlap, max_span / 4)}
    data = with_overrides({"segmentation": settings}, overrides)
    return validate(SegmentationConfig, data["segmentation"], "--set")


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of the segmentation, and the others."""
    own = [override for override in overrides if override.startswith("segmentation.")]
    return own, [override for override in overrides if override not in own]


@dataclass(frozen=True)
class Activity:
    """What a detector says of a stretch of a recording, frame by frame."""

    start: float  # seconds into the recording
    frame_seconds: float
    probabilities: np.ndarray  # (num_frames,) of speech
    tells_speech: bool = True  # `Vad.tells_speech`

    @property
    def certainty(self) -> float:
        """The mean probability of the surest second, or tenth of the frames where that is more."""
        most = max(round(1.0 / self.frame_seconds), len(self.probabilities) // 10)
        return float(np.sort(self.probabilities)[-most:].mean()) if len(self.probabilities) else 0.0

    def stretches(self, threshold: float, longest_pause: float) -> list[tuple[float, float]]:
        """Where the probability is at `threshold` or above, over pauses of at most so many seconds: from, up to."""
        found: list[tuple[float, float]] = []
        for place in np.flatnonzero(self.probabilities >= threshold).tolist():
            start = self.start + place * self.frame_seconds
            if found and start - found[-1][1] <= longest_pause:
                start = found.pop()[0]
            found.append((start, self.start + (place + 1) * self.frame_seconds))
        return found


@dataclass(frozen=True)
class Span:
    """A stretch of a recording that a model takes at once."""

    first: int  # sample of the recording, at the model's rate
    waveform: np.ndarray  # (num_samples,) float32
    sample_rate: int
    speech: tuple[int, int]  # where the detector found speech: first and one past the last sample of the recording
    continues: bool = False  # the next span begins before this one ends
    activity: Activity | None = None  # None without a detector

    @property
    def start(self) -> float:
        """Seconds into the recording."""
        return self.first / self.sample_rate

    @property
    def end(self) -> float:
        """Seconds into the recording."""
        return (self.first + len(self.waveform)) / self.sample_rate

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.waveform) / self.sample_rate


class Segmenter:
    """Cuts recordings of one sample rate into spans; the same spans however a recording arrives in blocks.

    `window_seconds` is what the model hears at most, where it hears windows.
    """

    def __init__(self, config: SegmentationConfig, sample_rate: int, window_seconds: float | None = None) -> None:
        self.config = config
        self.sample_rate = sample_rate
        self.merged_seconds = window_seconds if config.merge else None  # of merged spans; None for none
        self._vad: Vad | None = None if config.vad is None else VADS.part(config.vad.name)(config.vad, sample_rate)

    def stream(self) -> SpanStream:
        """A recording that is about to arrive."""
        if self._vad is None:
            return SpanStream(_Everything(self.sample_rate), _Cutter(self.config, self.sample_rate, EVERYTHING_FRAME))
        return SpanStream(self._vad.stream(), _Cutter(self.config, self.sample_rate, self._vad.frame_seconds))

    def spans(self, blocks: Iterable[np.ndarray]) -> Iterator[Span]:
        """The spans of a whole recording."""
        stream = self.stream()
        for block in blocks:
            yield from stream.push(block)
        yield from stream.finish()


class SpanStream:
    """One recording, block by block; no more of it is held than a block and a span."""

    def __init__(self, detector: VadStream | _Everything, cutter: _Cutter) -> None:
        self._detector = detector
        self._cutter = cutter

    def push(self, block: np.ndarray) -> list[Span]:
        """Take the next samples (num_samples,) float32, and give the spans that are complete with them."""
        self._cutter.append(block)
        return self._step(self._detector.push(block))

    def finish(self) -> list[Span]:
        """The rest of the spans: the recording has ended."""
        return self._step(self._detector.finish()) + self._cutter.finish()

    def unfinished(self) -> Span | None:
        """What the next span holds so far; None outside speech."""
        return self._cutter.unfinished()

    def _step(self, probabilities: np.ndarray) -> list[Span]:
        return [span for probability in probabilities.tolist() for span in self._cutter.step(probability)]


class _Everything:
    """Stands in for a detector: every frame is speech."""

    def __init__(self, sample_rate: int) -> None:
        self._frame = round(EVERYTHING_FRAME * sample_rate)
        self._rest = 0  # samples of the next frame

    def push(self, samples: np.ndarray) -> np.ndarray:
        whole, self._rest = divmod(self._rest + len(samples), self._frame)
        return np.ones(whole, dtype=np.float32)

    def finish(self) -> np.ndarray:
        return np.ones(int(self._rest > 0), dtype=np.float32)


class _Cutter:
    """Follows the probabilities frame by frame. Positions are samples of the recording unless named otherwise."""

    def __init__(self, config: SegmentationConfig, sample_rate: int, frame_seconds: float) -> None:
        self._config = config
        self._rate = sample_rate
        self._frame_seconds = frame_seconds
        self._num_frames = 0
        self._probabilities: list[float] = []  # of the last frames up to `_now`
        self._samples = np.zeros(0, dtype=np.float32)
        self._origin = 0  # where `_samples` begins
        self._now = 0  # up to where probabilities are known
        self._first = 0  # where the span that grows begins; samples before belong to earlier ones
        self._speech: tuple[int, int] | None = None  # where the speech in that span began, and last was
        self._paused = False  # whether that speech ended `min_pause` ago
        self._num_spans = 0
        self._onset: int | None = None  # where a sound began that may become speech
        self._num_certain = 0  # frames at `onset` or above since then

    def append(self, block: np.ndarray) -> None:
        self._samples = np.concatenate([self._samples, block])

    def step(self, probability: float) -> Iterator[Span]:
        """Take the next frame, and give the spans that are complete with it."""
        self._num_frames += 1
        self._probabilities.append(probability)
        began, self._now = self._now, self._num_samples(self._num_frames * self._frame_seconds)
        if self._speech is not None and not self._paused:
            if probability >= self._config.offset:
                self._speech = (self._speech[0], self._now)
            self._paused = self._now - self._speech[1] >= self._num_samples(self._config.min_pause)
            yield from self._shorten()
        else:
            yield from self._wait_for_speech(began, probability)
        self._forget()

    def finish(self) -> list[Span]:
        """The span that the recording ends in."""
        end = self._origin + len(self._samples)
        if self._speech is None and self._num_spans == 0 and end < self._num_samples(self._config.min_recording):
            self._speech = (0, end)
        return list(self._close(end))

    def unfinished(self) -> Span | None:
        """The span that grows, up to now."""
        return None if self._speech is None else self._trimmed(self._now, continues=True)

    def _num_samples(self, seconds: float) -> int:
        return round(seconds * self._rate)

    def _wait_for_speech(self, began: int, probability: float) -> Iterator[Span]:
        """Look for the next speech; until it comes, the span before may have its padding."""
        if self._is_speech(began, probability):
            assert self._onset is not None
            if self._speech is not None:
                yield from self._close((self._speech[1] + self._onset) // 2)
            self._first = max(self._first, self._onset - self._num_samples(self._config.padding))
            self._speech, self._paused, self._onset = (self._onset, self._now), False, None
        elif self._speech is not None:
            silent_until = self._now if self._onset is None else self._onset
            if silent_until - self._speech[1] >= 2 * self._num_samples(self._config.padding):
                yield from self._close(self._now)

    def _is_speech(self, began: int, probability: float) -> bool:
        """Whether the sound that began at `_onset`, in this frame at the latest, is speech."""
        if probability < self._config.offset:
            self._onset = None
            return False
        if self._onset is None:
            self._onset, self._num_certain = began, 0
        self._num_certain += probability >= self._config.onset
        if self._num_certain == 0:  # what may stay so for hours
            self._onset = max(self._onset, self._now - self._rate)
        return self._num_certain * self._frame_seconds >= max(self._config.min_speech, self._frame_seconds)

    def _shorten(self) -> Iterator[Span]:
        """Cut what grew too long."""
        longest = self._num_samples(self._config.max_span)
        while self._now - self._first >= longest:
            cut = self._pause(self._first + longest)
            yield from self._span(cut or self._first + longest, continues=cut is None)
            self._first = cut or self._first + longest - self._num_samples(self._config.overlap)

    def _pause(self, limit: int) -> int | None:
        """Where to cut the span that may not go on beyond `limit`; None without a pause in its second half."""
        assert self._speech is not None
        waveform = self._cut_out(self._first, limit)
        quietest = quietest_point(waveform, self._rate, len(waveform) // 2)
        if pause_depth(waveform, self._rate, quietest) >= PAUSE_DEPTH_DB:
            return self._first + quietest
        silence = limit - self._speech[1]
        return limit - silence // 2 if silence >= self._num_samples(MIN_SILENCE) else None

    def _close(self, latest: int) -> Iterator[Span]:
        """End the span, if there is one, after its padding but not beyond `latest`."""
        if self._speech is None:
            return
        longest = self._num_samples(self._config.max_span)
        end = min(self._speech[1] + self._num_samples(self._config.padding), latest, self._first + longest)
        yield from self._span(end)
        self._speech = None
        self._first = max(self._first, end)

    def _span(self, end: int, *, continues: bool = False) -> Iterator[Span]:
        """From `_first` to `end`; nothing if no speech is left in it."""
        if (span := self._trimmed(end, continues=continues)) is not None:
            self._num_spans += 1
            yield span

    def _trimmed(self, end: int, *, continues: bool) -> Span | None:
        """From `_first` to `end`, less digital silence at its ends; None without speech."""
        assert self._speech is not None
        waveform = self._cut_out(self._first, end)
        sounding = np.flatnonzero(waveform)
        speech = (max(self._speech[0], self._first), min(self._speech[1], end))
        if not len(sounding) or speech[0] >= speech[1]:
            return None
        trimmed = waveform[sounding[0] : sounding[-1] + 1].copy()  # a view would keep the block alive
        vad = self._config.vad
        activity = None if vad is None else self._activity(VADS.part(vad.name).tells_speech, self._first, end)
        return Span(self._first + int(sounding[0]), trimmed, self._rate, speech, continues, activity)

    def _activity(self, tells_speech: bool, first: int, end: int) -> Activity:
        """What the detector says of samples from `first` up to `end`."""
        frame = self._frame_seconds * self._rate
        oldest = self._num_frames - len(self._probabilities)
        start, stop = max(oldest, int(first // frame)), min(self._num_frames, math.ceil(end / frame))
        own = self._probabilities[start - oldest : max(start, stop) - oldest]
        probabilities = np.array(own, dtype=np.float32)
        return Activity(start * self._frame_seconds, self._frame_seconds, probabilities, tells_speech)

    def _cut_out(self, first: int, end: int) -> np.ndarray:
        return self._samples[first - self._origin : max(end, first) - self._origin]

    def _forget(self) -> None:
        """Drop the samples that no span can need any more, once they are many."""
        needed = self._first
        if self._speech is None:
            waiting = self._now if self._onset is None else self._onset
            needed = max(needed, waiting - self._num_samples(self._config.padding))
        if needed - self._origin > self._rate:
            self._samples = self._samples[needed - self._origin :].copy()
            self._origin = needed
            unneeded = int(needed / self._rate / self._frame_seconds) - self._num_frames + len(self._probabilities)
            del self._probabilities[: max(0, unneeded)]
