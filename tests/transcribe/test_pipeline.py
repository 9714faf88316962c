"""Segments of many recordings: in order, whatever the batches, and in spite of recordings that break off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from asr.errors import AudioError
from asr.transcribe.pipeline import Ended, Event, Heard, Pipeline, Reached, Track
from asr.transcribe.segmentation import SegmentationConfig, Segmenter, Span
from asr.types import Segment

RATE = 8000


def recording(*lengths: float, seed: int = 0) -> np.ndarray:
    """Bursts of such lengths in seconds, each followed by a second of digital silence."""
    rng = np.random.default_rng(seed)
    parts = []
    for length in lengths:
        parts += [rng.uniform(0.1, 0.2, round(length * RATE)), np.zeros(RATE)]
    return np.concatenate(parts).astype(np.float32)


class Recognize:
    """Writes where a span begins and how long it is; remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []

    def __call__(self, spans: Sequence[Span]) -> list[Segment | None]:
        self.batches.append([span.duration for span in spans])
        return [Segment(span.start, span.end, f"{span.duration:.1f}") for span in spans]


class Bursts:
    """Speech is what is not silent."""

    frame_seconds = 0.05

    def stream(self) -> Bursts:
        made = Bursts()
        made.rest = np.zeros(0, dtype=np.float32)
        return made

    def push(self, samples: np.ndarray) -> np.ndarray:
        joined = np.concatenate([self.rest, samples])
        whole = len(joined) // 400 * 400
        self.rest = joined[whole:]
        return joined[:whole].reshape(-1, 400).max(1) > 0

    def finish(self) -> np.ndarray:
        return np.array([self.rest.max() > 0]) if len(self.rest) else np.zeros(0)


def pipeline(recognize: Callable[[Sequence[Span]], list[Segment | None]], **settings: object) -> Pipeline:
    segmenter = Segmenter(SegmentationConfig(vad=None, max_span=6.0, overlap=1.0), RATE)
    segmenter._vad = Bursts()  # type: ignore[assignment]
    return Pipeline(segmenter, recognize, **{"max_batch_seconds": 8.0, **settings})  # type: ignore[arg-type]


def track(key: int, waveform: np.ndarray) -> Track:
    return Track(key, lambda: np.array_split(waveform, max(1, len(waveform) // RATE)))


def heard(events: Iterable[Event], key: int | None = None) -> list[str]:
    return [event.segment.text for event in events if isinstance(event, Heard) and key in (None, event.key)]


def test_segments_come_in_order_though_batches_are_sorted_by_length() -> None:
    recognize = Recognize()
    events = list(pipeline(recognize).run([track(0, recording(1, 4, 2)), track(1, recording(3, 1, 5))]))
    assert heard(events, 0) == ["1.0", "4.0", "2.0"]
    assert heard(events, 1) == ["3.0", "1.0", "5.0"]
    assert [event.key for event in events] == sorted(event.key for event in events)
    assert all(batch == sorted(batch, reverse=True) for batch in recognize.batches)
    assert all(batch[0] * len(batch) <= 8.0 for batch in recognize.batches)


def test_short_recordings_share_a_batch() -> None:
    recognize = Recognize()
    list(pipeline(recognize, max_batch_seconds=20.0).run(track(number, recording(1)) for number in range(10)))
    assert max(map(len, recognize.batches)) == 10


def test_every_track_ends_with_its_length() -> None:
    events = list(pipeline(Recognize()).run([track(0, recording(1)), track(1, np.zeros(0, dtype=np.float32))]))
    assert [(event.key, event.seconds) for event in events if isinstance(event, Ended)] == [(0, 2.0), (1, 0.0)]
    reached = [event.seconds for event in events if isinstance(event, Reached) and event.key == 0]
    assert reached == sorted(reached)


def test_a_recording_that_breaks_off_does_not_stop_the_others() -> None:
    def broken() -> Iterator[np.ndarray]:
        yield recording(2, 1)
        raise AudioError("x.wav: broken")

    events = list(pipeline(Recognize()).run([track(0, recording(1)), Track(1, broken), track(2, recording(3))]))
    errors = {event.key: event.error and str(event.error) for event in events if isinstance(event, Ended)}
    assert errors == {0: None, 1: "x.wav: broken", 2: None}
    assert heard(events, 2) == ["3.0"]


def test_an_executor_with_many_batches_under_way_gives_the_same() -> None:
    tracks = [track(number, recording(*(1 + (number + place) % 4 for place in range(5)))) for number in range(6)]
    alone = list(pipeline(Recognize()).run(tracks))
    with ThreadPoolExecutor(3) as pool:
        together = list(pipeline(Recognize(), executor=pool, max_in_flight=4).run(tracks))
    for key in range(6):
        assert heard(together, key) == heard(alone, key)


def test_the_first_segments_come_long_before_the_last_are_read() -> None:
    num_read = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal num_read
        while True:
            num_read += 1
            yield recording(2)

    events = pipeline(Recognize()).run([Track(0, endless)])
    assert next(event for event in events if isinstance(event, Heard)).segment.text == "2.0"
    assert num_read < 100
    events.close()  # type: ignore[attr-defined]


def test_a_failing_recognition_is_raised() -> None:
    def fail(_spans: Sequence[Span]) -> list[Segment | None]:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        list(pipeline(fail).run([track(0, recording(1))]))


def test_spans_without_a_pause_between_them_hand_over() -> None:
    texts = iter(["a b c", "c d e", "e f g"])

    def recognize(spans: Sequence[Span]) -> list[Segment | None]:
        return [Segment(span.start, span.end, next(texts)) for span in spans]

    long = np.random.default_rng(0).uniform(0.1, 0.2, 15 * RATE).astype(np.float32)
    events = list(pipeline(recognize, max_batch_seconds=1.0).run([Track(0, partial(iter, [long]))]))
    segments = [event.segment for event in events if isinstance(event, Heard)]
    assert " ".join(segment.text for segment in segments) == "a b c d e f g"
    assert all(before.end <= after.start for before, after in pairwise(segments))
