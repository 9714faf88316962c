"""Recognises many recordings as one stream of work: spans of all of them fill batches, segments come out in order.

    reader thread     track after track: decode, find speech, cut -> spans
    this thread       a window of spans -> batches of like lengths -> executor -> segments, in the order of the spans

An executor runs batches here and now, or in other processes (`asr.transcribe.workers`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from asr.errors import AudioError
from asr.transcribe.overlaps import hand_over
from asr.transcribe.read_ahead import read_ahead
from asr.transcribe.segmentation import Segmenter, Span
from asr.types import Segment

MAX_READ_AHEAD = 64  # spans and blocks
WINDOW_BATCHES = 4  # spans are sorted by length among so many batches' worth

RecognizeBatch = Callable[[Sequence[Span]], list[Segment | None]]
"""Segments of spans, None where nothing was said."""


@dataclass(frozen=True)
class Track:
    """One channel of a recording."""

    key: Any  # events name it so
    blocks: Callable[[], Iterable[np.ndarray]]  # (num_samples,) float32 each; AudioError where it cannot be read


@dataclass(frozen=True)
class Heard:
    """A segment of a track."""

    key: Any
    segment: Segment


@dataclass(frozen=True)
class Reached:
    """So much of a track has been read, and the spans that were complete by then have been recognised."""

    key: Any
    seconds: float


@dataclass(frozen=True)
class Ended:
    """A track has no more segments, because it is over or, with an error, because it cannot be read on."""

    key: Any
    seconds: float
    error: AudioError | None = None
    num_spans: int = 0  # in which something was to be recognised


Event = Heard | Reached | Ended


class Inline(Executor):
    """Runs each call at once, in the thread that submits it."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(function(*arguments, **named))
        return done


@dataclass
class _Place:
    """A span in the order of events, and the batch that it went into."""

    key: Any
    span: Span
    batch: Future[list[Segment | None]] | None = None
    row: int = 0


class Pipeline:
    """Recognises in batches whose longest span times size is at most `max_batch_seconds`, or of a single span.

    At most `max_in_flight` batches are under way in the executor.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        recognize: RecognizeBatch,
        *,
        max_batch_seconds: float,
        executor: Executor | None = None,
        max_in_flight: int = 1,
    ) -> None:
        self._segmenter = segmenter
        self._recognize = recognize
        self._max_batch_seconds = max_batch_seconds
        self._executor = executor or Inline()
        self._max_in_flight = max_in_flight

    def run(self, tracks: Iterable[Track]) -> Iterator[Event]:
        """The segments of all tracks, in order, each as soon as it and all before it are ready.

        The first window is of one batch, so that something is heard soon.
        """
        order: deque[_Place | Event] = deque()
        waiting: list[_Place] = []
        under_way: deque[Future[list[Segment | None]]] = deque()
        joints = _Joints()
        window = self._max_batch_seconds

        def recognize(places: list[_Place]) -> Iterator[Event]:
            for batch in _batches(places, self._max_batch_seconds):
                while len(under_way) >= self._max_in_flight:
                    under_way.popleft().result()
                under_way.append(self._submit(batch))
                yield from _settled(order, joints)

        for item in read_ahead(self._read(tracks), MAX_READ_AHEAD):
            order.append(item)
            if isinstance(item, _Place):
                waiting.append(item)
            elif not waiting:
                yield from _settled(order, joints)
            if sum(place.span.duration for place in waiting) >= window:
                yield from recognize(waiting)
                waiting = []
                window = min(2 * window, WINDOW_BATCHES * self._max_batch_seconds)
        yield from recognize(waiting)
        for batch in under_way:
            batch.result()
        yield from _settled(order, joints)

    def _read(self, tracks: Iterable[Track]) -> Iterator[_Place | Event]:
        """The spans of all tracks, how far each has been read, and how it ended."""
        for track in tracks:
            num_samples = num_spans = 0
            error = None
            stream = self._segmenter.stream()
            try:
                for block in track.blocks():
                    num_samples += len(block)
                    for span in stream.push(block):
                        num_spans += 1
                        yield _Place(track.key, span)
                    yield Reached(track.key, num_samples / self._segmenter.sample_rate)
                for span in stream.finish():
                    num_spans += 1
                    yield _Place(track.key, span)
            except AudioError as reason:
                error = reason
            yield Ended(track.key, num_samples / self._segmenter.sample_rate, error, num_spans)

    def _submit(self, batch: Sequence[_Place]) -> Future[list[Segment | None]]:
        future = self._executor.submit(self._recognize, [place.span for place in batch])
        for row, place in enumerate(batch):
            place.batch, place.row = future, row
        return future


class _Joints:
    """Holds a segment back while the next one may share words with it."""

    def __init__(self) -> None:
        self._held: tuple[Span, Segment] | None = None

    def add(self, span: Span, segment: Segment | None) -> Iterator[Segment]:
        """The segments that are complete now that this span of the same track has been recognised."""
        if self._held is not None:
            earlier, before = self._held
            if segment is not None and span.start < earlier.end:
                before, segment = hand_over(before, segment, span.start, earlier.end)
            self._held = None
            if before.text:
                yield before
        if segment is None or not segment.text:
            return
        if span.continues:
            self._held = span, segment
        else:
            yield segment

    def finish(self) -> Iterator[Segment]:
        """What is held, at the end of a track."""
        if self._held is not None:
            yield self._held[1]
            self._held = None


def _settled(order: deque[_Place | Event], joints: _Joints) -> Iterator[Event]:
    """Take from the order what is ready."""
    while order:
        item = order[0]
        if isinstance(item, _Place):
            if item.batch is None or not item.batch.done():
                return
            segment = item.batch.result()[item.row]
            yield from (Heard(item.key, ready) for ready in joints.add(item.span, segment))
        else:
            if isinstance(item, Ended):
                yield from (Heard(item.key, ready) for ready in joints.finish())
            yield item
        order.popleft()


def _batches(places: Iterable[_Place], max_seconds: float) -> Iterator[list[_Place]]:
    """Places of spans of like lengths, longest first."""
    batch: list[_Place] = []
    for place in sorted(places, key=lambda place: -len(place.span.waveform)):
        if batch and batch[0].span.duration * (len(batch) + 1) > max_seconds:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
