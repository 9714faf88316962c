"""One request to the engine, from its recording to its events. Everything but reading happens under the engine's lock.

read one block -> spans in order -> (the engine recognises them, in any order) -> events in order
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace

from asr.audio.band import BandWatch
from asr.audio.channels import SPLIT, Channels
from asr.bundle.decode import SearchRequest
from asr.errors import AudioError
from asr.transcribe.coverage import still_uncovered
from asr.transcribe.events import Done, Event, Failed, Partial, Progress, SegmentReady
from asr.transcribe.merging import Merger
from asr.transcribe.overlaps import Joiner, merged
from asr.transcribe.recognized import NOTHING, Recognized
from asr.transcribe.recordings import LiveRecording, Recording
from asr.transcribe.replacements import Replacements
from asr.transcribe.segmentation import Segmenter, Span, SpanStream
from asr.types import Segment, Transcript

BLOCK_SECONDS = 10.0  # read at once
PARTIAL_SECONDS = 0.5  # of new speech that make another Partial worth its while
MAX_EVENTS = 32  # nothing is recognised for a request as long as so many wait to be taken


@dataclass(frozen=True)
class RequestOptions:
    """What one request wants; None leaves it to the engine."""

    search: SearchRequest | None = None  # another search, language model or hotwords
    language: str | None = None  # spoken: its code; AUTO, and None of a model of several, finds it on the first speech
    each_language: bool = False  # it is found anew for every stretch of speech
    task: str | None = None  # transcribe or translate; for models that know both
    prompt: str | None = None  # what was said before; needs a search with a decoder, which writes on from it
    confidence: str | None = None  # a measure of `asr.alignment.confidence`
    min_confidence: float | None = None  # a segment below it is taken for noise
    replacements: Replacements | None = None  # in the text of segments, once they are recognised
    channel: Channels = None  # from 0; None is the mean of all, SPLIT each by itself
    partials: bool = False  # Partial events, too; they cost as much as recognising the speech several times
    bulk: bool = False  # gives way to others and waits until batches are full; bulk requests are served in order


@dataclass(eq=False)
class SpanTask:
    """A span of a request on its way through the model."""

    request: Request
    span: Span
    channel: int | None = None  # of a request that asks for all of them
    is_partial: bool = False
    num_before: int = 0  # spans of the request before it
    is_done: bool = False
    recognized: Recognized = NOTHING  # once it is done

    @property
    def options(self) -> RequestOptions:
        """Those of the request, with the language that was found in it."""
        options = self.request.options
        known = self.request.language if self.request.finds_language else None
        return options if known is None else replace(options, language=known)


@dataclass(frozen=True)
class _ChannelEnd:
    """A channel has no more spans."""


_Item = SpanTask | Progress | _ChannelEnd | Done | Failed


class Request:
    """A recording that is being transcribed."""

    def __init__(
        self,
        recording: Recording,
        options: RequestOptions,
        segmenter: Segmenter,
        lock: threading.Lock,
        *,
        finds_language: bool = False,
    ) -> None:
        self.recording = recording
        self.options = options
        self.changed = threading.Condition(lock)  # events have come; `lock` is the engine's
        self.on_event: Callable[[], None] = lambda: None  # is called then, too
        self.ready: list[SpanTask] = []  # spans that wait for the model, in order
        self.ready_seconds = 0.0  # of them together
        self.partial: SpanTask | None = None
        self.num_running = 0  # of its spans
        self.waiting_since = 0  # when it last joined the others that wait for the model
        self.last_read = 0
        self.is_reading = False
        self.is_read = False  # to the end
        self.is_alone = False  # its spans share no batch: one that they were in has failed
        self.is_over = False
        self.is_abandoned = False  # nobody will take its events
        self.language: str | None = None  # once it is found
        self.finds_language = finds_language
        self._steps = self._read(segmenter)
        self._num_spans = 0
        self._order: deque[_Item] = deque()
        self._joiner = Joiner()
        self._segments: list[Segment] = []
        self._uncovered: list[tuple[float, float]] = []
        self._events: deque[Event] = deque()

    @property
    def is_paused(self) -> bool:
        """Whether too many events wait to be taken; never for a stream, or pushing would depend on it."""
        return len(self._events) >= MAX_EVENTS and not isinstance(self.recording, LiveRecording)

    @property
    def candidates(self) -> Sequence[SpanTask]:
        """Spans that can be recognised now; the first alone, until its language is known, where it is to be found."""
        waiting = [*self.ready, *([self.partial] if self.partial is not None else [])]
        if not self.finds_language or self.language is not None:
            return waiting
        return [] if self.num_running else waiting[:1]

    @property
    def can_read(self) -> bool:
        """Whether another block can be read now, if there is room."""
        return not (self.is_read or self.is_reading or self.is_paused) and self.recording.has_block

    def read_block(self) -> list[_Item]:
        """Read and segment the next block; the last items are Done or Failed. Not under the lock."""
        try:
            return next(self._steps)
        except Exception as error:  # whatever it is, it is this request's
            return [Failed(error)]

    def add(self, items: Sequence[_Item]) -> None:
        """Take what was read."""
        for item in items:
            if isinstance(item, SpanTask):
                item.num_before = self._num_spans
                self.partial = item if item.is_partial else None
                if item.is_partial:
                    continue
                self.ready.append(item)
                self.ready_seconds += item.span.duration
                self._num_spans += 1
            self._order.append(item)
            self.is_read |= isinstance(item, Done | Failed)
        self._settle()

    def take(self, task: SpanTask) -> None:
        """A span that waited is going to be recognised."""
        self.num_running += 1
        if task is self.partial:
            self.partial = None
        else:
            self.ready.remove(task)
            self.ready_seconds -= task.span.duration

    def put_back(self, tasks: Sequence[SpanTask]) -> None:
        """Spans could not be recognised in a batch with those of others; they will be without."""
        self.is_alone = True
        self.num_running -= len(tasks)
        back = [task for task in tasks if not (task.is_partial or self.is_over)]
        self.ready = sorted([*back, *self.ready], key=lambda task: task.num_before)
        self.ready_seconds += sum(task.span.duration for task in back)

    def finish_task(self, task: SpanTask, recognized: Recognized) -> None:
        """A span has been recognised."""
        self.num_running -= 1
        task.is_done = True
        if self.language is None and recognized.segments and not task.is_partial:
            self.language = recognized.segments[0].language
        segments = tuple(replace(segment, channel=task.channel) for segment in recognized.segments)
        task.recognized = replace(recognized, segments=segments)
        if not task.is_partial:
            self._settle()
        elif segments and segments[-1].text and task.num_before == self._num_spans and not self.is_over:
            self._deliver(Partial(self._replaced(merged(segments))))

    def fail(self, error: Exception) -> None:
        """No more events but this one."""
        self._order.clear()
        self.ready, self.ready_seconds, self.partial = [], 0.0, None
        self._end(Failed(error))

    def cancel(self) -> None:
        """As if it had never been; events that wait are dropped."""
        if not self.is_over:
            self._events.clear()
            self.fail(CancelledError())

    def close(self) -> None:
        """Let go of the recording. Not while a block is being read."""
        self._steps.close()

    def take_event(self, *, wait: bool = True) -> Event | None:
        """The next event; None after the last one, or where there is none to be had without waiting."""
        while not self._events:
            if self.is_over or not wait:
                return None
            self.changed.wait()
        return self._events.popleft()

    def _read(self, segmenter: Segmenter) -> Generator[list[_Item]]:
        """Items block by block."""
        channels = self._channels()
        rate = segmenter.sample_rate
        total = longest = 0.0  # seconds
        band = BandWatch(rate)
        for channel in channels:
            label = channel if self.options.channel == SPLIT else None
            stream, num_samples, shown = segmenter.stream(), 0, 0.0
            merger = self._merger(segmenter)
            fault = None
            try:
                for block in self.recording.blocks(rate, BLOCK_SECONDS, channel):
                    num_samples += len(block)
                    band.look(block)
                    seconds = num_samples / rate
                    items: list[_Item] = [SpanTask(self, span, label) for span in merger.push(stream.push(block))]
                    if self.options.partials and seconds - shown >= PARTIAL_SECONDS:
                        shown = seconds
                        items += self._partial(stream, label)
                    yield [*items, Progress(total + seconds)]
            except AudioError as error:
                fault = Failed(error)
            left = itertools.chain(merger.push(stream.finish()), merger.finish())
            rest = [SpanTask(self, span, label) for span in left]
            total, longest = total + num_samples / rate, max(longest, num_samples / rate)
            whole = Done(Transcript(()), longest, is_narrow=band.is_narrow)
            end = whole if channel == channels[-1] else _ChannelEnd()
            yield [*rest, fault or end]
            if fault:
                return

    def _merger(self, segmenter: Segmenter) -> Merger:
        """What joins spans; none of a recording that comes in as it is spoken, or whose languages change."""
        is_live = self.options.partials or isinstance(self.recording, LiveRecording)
        seconds = None if is_live or self.options.each_language else segmenter.merged_seconds
        return Merger(seconds or 0.0)

    def _partial(self, stream: SpanStream, channel: int | None) -> list[SpanTask]:
        span = stream.unfinished()
        return [] if span is None else [SpanTask(self, span, channel, is_partial=True)]

    def _channels(self) -> Sequence[int | None]:
        return range(self.recording.num_channels()) if self.options.channel == SPLIT else (self.options.channel,)

    def _settle(self) -> None:
        """Deliver, in order, what is ready."""
        while self._order and not self.is_over:
            item = self._order[0]
            if isinstance(item, SpanTask):
                if not item.is_done:
                    return
                self._uncovered += item.recognized.uncovered
                for segment in self._joiner.add(item.span, item.recognized.segments):
                    self._deliver_segment(segment)
            elif isinstance(item, Progress):
                self._deliver(item)
            else:
                for segment in self._joiner.finish():
                    self._deliver_segment(segment)
                if isinstance(item, Done):
                    transcript = whole_transcript(self._segments, self._uncovered)
                    self._end(replace(item, transcript=transcript, has_speech=self._num_spans > 0))
                elif isinstance(item, Failed):
                    self._end(item)
            self._order.popleft()

    def _deliver_segment(self, segment: Segment) -> None:
        segment = self._replaced(segment)
        if segment.text:
            self._segments.append(segment)
            self._deliver(SegmentReady(segment))

    def _replaced(self, segment: Segment) -> Segment:
        replacements = self.options.replacements
        return segment if replacements is None else replacements.apply(segment)

    def _end(self, event: Done | Failed) -> None:
        self.is_over = True
        self._deliver(event)

    def _deliver(self, event: Event) -> None:
        """A Partial or Progress that nobody has taken yet is replaced by the next one."""
        if self._events and isinstance(event, Partial | Progress) and isinstance(self._events[-1], type(event)):
            self._events.pop()
        self._events.append(event)
        self.changed.notify_all()
        self.on_event()


def whole_transcript(segments: Iterable[Segment], uncovered: Iterable[tuple[float, float]] = ()) -> Transcript:
    """Segments in order of their starts, with the language of most of their time."""
    in_time = sorted(segments, key=lambda segment: segment.start)
    seconds: dict[str, float] = {}
    for segment in in_time:
        if segment.language is not None:
            seconds[segment.language] = seconds.get(segment.language, 0.0) + segment.end - segment.start
    language = max(seconds, key=lambda code: seconds[code]) if seconds else None
    return Transcript(tuple(in_time), language, still_uncovered(tuple(uncovered), in_time))
