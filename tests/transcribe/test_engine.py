"""Requests of many callers share one model: in order, side by side, each with its own faults, and fairly."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest

from asr.audio.channels import SPLIT
from asr.errors import AudioError
from asr.transcribe.engine import Engine
from asr.transcribe.events import Done, Event, Failed, Partial, Progress, SegmentReady
from asr.transcribe.recognized import Recognized
from asr.transcribe.requests import MAX_EVENTS, RequestOptions
from asr.transcribe.segmentation import SegmentationConfig, Segmenter, Span
from asr.types import Segment

RATE = 8000
BULK = RequestOptions(bulk=True)
Answer = list[Recognized]


def bursts(*lengths: float, seed: int = 0) -> np.ndarray:
    """Sounds of such lengths in seconds, each followed by a second of digital silence."""
    rng = np.random.default_rng(seed)
    parts = []
    for length in lengths:
        parts += [rng.uniform(0.1, 0.2, round(length * RATE)), np.zeros(RATE)]
    return np.concatenate(parts).astype(np.float32)


@dataclass
class Sounds:
    """A recording that is made up block by block."""

    source: Callable[[], Iterable[np.ndarray]]
    channels: int = 1
    name: str = "sounds"
    has_block: bool = True
    closed: list[str] = field(default_factory=list)

    def num_channels(self) -> int:
        return self.channels

    def blocks(self, sample_rate: int, block_seconds: float, channel: int | None = None) -> Iterator[np.ndarray]:
        try:
            yield from self.source()
        finally:
            self.closed.append(self.name)


def sounds(*lengths: float, seed: int = 0) -> Sounds:
    """A recording in blocks of a second."""
    waveform = bursts(*lengths, seed=seed)
    return Sounds(lambda: np.array_split(waveform, max(1, len(waveform) // RATE)))


class Model:
    """Writes how long a span is; remembers the batches and the threads that they ran in."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.threads: set[int] = set()

    def __call__(self, spans: Sequence[Span], options: Sequence[RequestOptions]) -> Answer:
        assert len(spans) == len(options)
        self.batches.append([span.duration for span in spans])
        self.threads.add(threading.get_ident())
        return [Recognized((Segment(span.start, span.end, f"{span.duration:.1f}"),)) for span in spans]


class Detector:
    """Speech is what is not silent."""

    frame_seconds = 0.05

    def stream(self) -> Detector:
        made = Detector()
        made.rest = np.zeros(0, dtype=np.float32)
        return made

    def push(self, samples: np.ndarray) -> np.ndarray:
        joined = np.concatenate([self.rest, samples])
        whole = len(joined) // 400 * 400
        self.rest = joined[whole:]
        return joined[:whole].reshape(-1, 400).max(1) > 0

    def finish(self) -> np.ndarray:
        return np.array([self.rest.max() > 0]) if len(self.rest) else np.zeros(0)


def segmenter() -> Segmenter:
    made = Segmenter(SegmentationConfig(vad=None, max_span=6.0, overlap=1.0), RATE)
    made._vad = Detector()  # type: ignore[assignment]
    return made


def engine(model: Callable[..., Answer], max_batch_seconds: float = 8.0, **settings: object) -> Engine:
    return Engine(segmenter(), model, max_batch_seconds=max_batch_seconds, **settings)  # type: ignore[arg-type]


def texts(events: Iterable[Event]) -> list[str]:
    return [event.segment.text for event in events if isinstance(event, SegmentReady)]


def test_segments_come_in_order_though_batches_are_sorted_by_length() -> None:
    model = Model()
    with engine(model) as shared:
        first, second = shared.submit(sounds(1, 4, 2), BULK), shared.submit(sounds(3, 1, 5), BULK)
        assert texts(first) == ["1.0", "4.0", "2.0"]
        assert texts(second) == ["3.0", "1.0", "5.0"]
    assert all(batch == sorted(batch, reverse=True) for batch in model.batches)
    assert all(batch[0] * len(batch) <= 8.0 for batch in model.batches)


def test_short_recordings_share_a_batch() -> None:
    model = Model()
    with engine(model, 20.0) as shared:
        handles = [shared.submit(sounds(1), BULK) for _ in range(10)]
        assert [handle.result().text for handle in handles] == ["1.0"] * 10
    assert sum(map(len, model.batches)) == 10
    assert max(map(len, model.batches)) > 1


def test_a_request_ends_with_its_length_and_transcript_and_progress_never_goes_back() -> None:
    with engine(Model()) as shared:
        *others, done = shared.submit(sounds(1, 2))
        (empty,) = (event for event in shared.submit(np.zeros(0, dtype=np.float32)) if isinstance(event, Done))
    assert isinstance(done, Done)
    assert (done.seconds, done.transcript.text) == (5.0, "1.0 2.0")
    assert (empty.seconds, empty.transcript.segments) == (0.0, ())
    reached = [event.seconds for event in others if isinstance(event, Progress)]
    assert reached
    assert reached == sorted(reached)


def test_a_recording_that_breaks_off_gives_what_was_before_and_does_not_stop_the_others() -> None:
    def broken() -> Iterator[np.ndarray]:
        yield bursts(2, 1)
        raise AudioError("x.wav: broken")

    with engine(Model()) as shared:
        handles = [shared.submit(recording) for recording in (sounds(1), Sounds(broken), sounds(3))]
        events = list(handles[1])
        assert texts(events) == ["2.0", "1.0"]
        assert isinstance(events[-1], Failed)
        assert str(events[-1].error) == "x.wav: broken"
        assert [handles[place].result().text for place in (0, 2)] == ["1.0", "3.0"]


def test_a_span_that_the_model_cannot_take_fails_its_own_request_and_no_other() -> None:
    def recognize(spans: Sequence[Span], options: Sequence[RequestOptions]) -> Answer:
        if any(round(span.duration) == 3 for span in spans):
            raise RuntimeError("no three")
        return [Recognized((Segment(span.start, span.end, f"{span.duration:.1f}"),)) for span in spans]

    with engine(recognize, 60.0) as shared:
        handles = [shared.submit(sounds(*lengths), BULK) for lengths in [(2, 1), (1, 3), (4,), (2,)]]
        with pytest.raises(RuntimeError, match="no three"):
            handles[1].result()
        assert [handles[place].result().text for place in (0, 2, 3)] == ["2.0 1.0", "4.0", "2.0"]


def test_batches_in_other_threads_or_processes_give_the_same() -> None:
    lengths = [[1 + (number + place) % 4 for place in range(5)] for number in range(6)]
    with ThreadPoolExecutor(3) as pool, engine(Model(), executor=pool, max_in_flight=4) as shared:
        handles = [shared.submit(sounds(*each)) for each in lengths]
        assert [texts(handle) for handle in handles] == [[f"{length:.1f}" for length in each] for each in lengths]


def test_all_batches_run_in_one_thread_which_is_nobody_elses() -> None:
    model = Model()
    with engine(model) as shared, ThreadPoolExecutor(4) as callers:
        found = callers.map(lambda length: shared.submit(sounds(length)).result().text, [1, 2, 3, 4])
        assert list(found) == ["1.0", "2.0", "3.0", "4.0"]
    assert len(model.threads) == 1
    assert threading.get_ident() not in model.threads


def endless(num_read: list[int]) -> Callable[[], Iterator[np.ndarray]]:
    def source() -> Iterator[np.ndarray]:
        while True:
            num_read[0] += 1
            yield bursts(2)

    return source


def test_what_nobody_takes_is_not_made() -> None:
    num_read = [0]
    with engine(Model()) as shared:
        waiting = shared.submit(Sounds(endless(num_read)))
        assert next(event for event in waiting if isinstance(event, SegmentReady)).segment.text == "2.0"
        for _ in range(5):
            assert shared.submit(sounds(1)).result().text == "1.0"  # while the other one is stuck
        assert num_read[0] < 2 * MAX_EVENTS


def test_a_long_recording_delays_a_short_one_by_no_more_than_the_batch_that_is_running() -> None:
    submitted = threading.Event()
    was_read = threading.Event()

    def short() -> Iterator[np.ndarray]:
        yield np.concatenate([bursts(1), np.zeros(4 * RATE, dtype=np.float32)])
        was_read.set()  # what came before is cut and waits for the model when this is asked for

    batches: list[list[bool]] = []  # whether a span is of the short recording

    def recognize(spans: Sequence[Span], options: Sequence[RequestOptions]) -> Answer:
        batches.append([option.min_confidence == 0.5 for option in options])
        if len(batches) == 3:  # in the middle of the long recording
            submitted.set()
            assert was_read.wait(30)
        return [Recognized((Segment(span.start, span.end, "x"),)) for span in spans]

    three_hours = [bursts(*[3] * 20)] * 135
    with engine(recognize) as shared:
        long = shared.submit(Sounds(lambda: three_hours))
        taking = threading.Thread(target=lambda: list(long))
        taking.start()
        assert submitted.wait(30)
        handle = shared.submit(Sounds(short), RequestOptions(min_confidence=0.5))
        assert handle.result().text == "x"
        long.cancel()
        taking.join()
    assert not any(any(batch) for batch in batches[:3])
    assert any(batches[3])


def test_short_recordings_that_keep_coming_do_not_stop_a_long_one() -> None:
    with engine(Model()) as shared:
        long = shared.submit(sounds(*[3] * 30))
        finished = threading.Event()

        def keep_asking() -> None:
            while not finished.is_set():
                shared.submit(sounds(1)).result()

        callers = [threading.Thread(target=keep_asking) for _ in range(3)]
        for caller in callers:
            caller.start()
        assert len(long.result().segments) == 30
        finished.set()
        for caller in callers:
            caller.join()


def test_spans_without_a_pause_between_them_hand_over() -> None:
    answers = iter(["a b c", "c d e", "e f g"])

    def recognize(spans: Sequence[Span], options: Sequence[RequestOptions]) -> Answer:
        return [Recognized((Segment(span.start, span.end, next(answers)),)) for span in spans]

    long = np.random.default_rng(0).uniform(0.1, 0.2, 15 * RATE).astype(np.float32)
    with engine(recognize, 1.0) as shared:
        segments = shared.submit(long, sample_rate=RATE).result().segments
    assert " ".join(segment.text for segment in segments) == "a b c d e f g"
    assert all(before.end <= after.start for before, after in pairwise(segments))


def test_channels_apart_are_merged_in_time() -> None:
    recording = sounds(1, 2)
    recording.channels = 2
    with engine(Model()) as shared:
        *events, done = shared.submit(recording, RequestOptions(channel=SPLIT))
    assert isinstance(done, Done)
    assert [segment.channel for segment in done.transcript.segments] == [0, 1, 0, 1]
    assert done.seconds == 5.0
    assert max(event.seconds for event in events if isinstance(event, Progress)) == 10.0


def test_a_stream_gives_partial_texts_and_then_the_segments_of_the_whole() -> None:
    waveform = bursts(2, 1.5, 3)
    with engine(Model()) as shared:
        stream = shared.open(RequestOptions(partials=True), sample_rate=RATE)
        events: list[Event] = []
        taking = threading.Thread(target=lambda: events.extend(stream))
        taking.start()
        for start in range(0, len(waveform), RATE // 4):
            stream.push(waveform[start : start + RATE // 4])
        stream.finish()
        taking.join()
        assert texts(events) == [
            segment.text for segment in shared.submit(waveform, sample_rate=RATE).result().segments
        ]
    assert isinstance(events[-1], Done)
    assert events[-1].seconds == len(waveform) / RATE
    with pytest.raises(AudioError, match="finished"):
        stream.push(waveform)


def test_a_partial_text_grows_while_its_segment_is_spoken() -> None:
    spoken = np.random.default_rng(0).uniform(0.1, 0.2, RATE).astype(np.float32)
    with engine(Model()) as shared:
        stream = shared.open(RequestOptions(partials=True), sample_rate=RATE)
        events = iter(stream)
        found = []
        for _ in range(3):
            stream.push(spoken)
            found.append(next(event for event in events if isinstance(event, Partial)).segment.text)
        assert found == ["1.0", "2.0", "3.0"]
        stream.finish()
        assert texts(events) == ["3.0"]


def test_a_stream_at_another_rate_is_resampled() -> None:
    with engine(Model()) as shared:
        stream = shared.open(sample_rate=2 * RATE)
        stream.push(np.repeat(bursts(2), 2).astype(np.float64))
        stream.finish()
        assert stream.result().segments[0].end == pytest.approx(2.0, abs=0.1)


def test_a_request_that_is_cancelled_ends_at_once_and_its_recording_is_closed() -> None:
    num_read = [0]
    recording = Sounds(endless(num_read))
    with engine(Model()) as shared:
        handle = shared.submit(recording)
        next(iter(handle))
        handle.cancel()
        with pytest.raises(CancelledError):
            handle.result()
        assert list(handle) == []
        assert shared.submit(sounds(1)).result().text == "1.0"
    assert recording.closed == ["sounds"]


def test_a_request_that_nobody_holds_any_more_is_dropped() -> None:
    recording = Sounds(endless([0]))
    with engine(Model()) as shared:
        handle = shared.submit(recording)
        next(iter(handle))
        del handle
        gc.collect()
        assert shared.submit(sounds(1)).result().text == "1.0"
        assert shared._core._scheduler.all() == []


def test_closing_an_engine_fails_what_is_not_done_and_ends_its_threads() -> None:
    before = threading.active_count()
    shared = engine(Model())
    handle = shared.submit(Sounds(endless([0])))
    next(iter(handle))
    shared.close()
    with pytest.raises(RuntimeError, match="closed"):
        handle.result()
    with pytest.raises(RuntimeError, match="closed"):
        shared.submit(sounds(1))
    assert threading.active_count() == before


def test_an_engine_that_nobody_holds_any_more_ends_its_threads() -> None:
    before = threading.active_count()
    shared = engine(Model())
    assert shared.submit(sounds(1)).result().text == "1.0"
    reference = weakref.ref(shared)
    del shared
    gc.collect()
    assert reference() is None
    assert threading.active_count() == before


def test_options_that_cannot_be_followed_are_refused_at_once() -> None:
    def check(options: RequestOptions) -> None:
        if options.confidence == "nonsense":
            raise ValueError("nonsense")

    with engine(Model(), check=check) as shared, pytest.raises(ValueError, match="nonsense"):
        shared.submit(sounds(1), RequestOptions(confidence="nonsense"))


def test_what_is_no_recording_is_refused() -> None:
    with engine(Model()) as shared, pytest.raises(AudioError, match="got dict"):
        shared.submit({"audio": [0.0, 0.1]})  # type: ignore[arg-type]


def test_requests_that_wait_at_the_same_time_share_a_batch() -> None:
    were_read = threading.Semaphore(0)

    def source() -> Iterator[np.ndarray]:
        yield np.concatenate([bursts(2), np.zeros(4 * RATE, dtype=np.float32)])
        were_read.release()  # what came before is cut and waits for the model when this is asked for

    sizes: list[int] = []

    def recognize(spans: Sequence[Span], options: Sequence[RequestOptions]) -> Answer:
        while not sizes and not all(were_read.acquire(timeout=30) for _ in range(12)):
            pass
        sizes.append(len(spans))
        return [Recognized((Segment(span.start, span.end, "x"),)) for span in spans]

    with engine(recognize, 60.0) as shared:
        handles = [shared.submit(Sounds(source)) for _ in range(12)]
        assert [handle.result().text for handle in handles] == ["x"] * 12
    assert len(sizes) <= 3


def test_a_language_that_is_found_in_the_first_speech_holds_for_the_rest_of_its_recording() -> None:
    told: dict[str, list[str | None]] = {}

    def recognize(spans: Sequence[Span], options: Sequence[RequestOptions]) -> Answer:
        found = []
        for span, wish in zip(spans, options, strict=True):
            told.setdefault(str(wish.prompt), []).append(wish.language)
            if span.duration < 1.5:  # nothing was said in it
                found.append(Recognized())
            else:
                code = wish.language or f"{span.duration:.0f}"
                found.append(Recognized((Segment(span.start, span.end, "x", language=code),)))
        return found

    with engine(recognize, 60.0, check=lambda options: not options.each_language) as shared:
        waiting = [
            shared.submit(sounds(*lengths), RequestOptions(prompt=name, bulk=True, each_language=name == "each"))
            for name, lengths in (("a", (1, 2, 3, 4)), ("b", (3, 2)), ("each", (2, 3)))
        ]
        results = [handle.result() for handle in waiting]
    assert [[segment.language for segment in result.segments] for result in results] == [
        ["2"] * 3,
        ["3"] * 2,
        ["2", "3"],
    ]
    assert [result.language for result in results] == ["2", "3", "3"]
    assert told == {"a": [None, None, "2", "2"], "b": [None, "3"], "each": [None, None]}
