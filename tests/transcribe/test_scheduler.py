"""Which spans share a batch: how full batches get, and that the last ones are for all lanes."""

from __future__ import annotations

import threading

import numpy as np

from asr.transcribe.recordings import ArrayRecording
from asr.transcribe.requests import Request, RequestOptions, SpanTask
from asr.transcribe.scheduler import Scheduler, fullest_batch
from asr.transcribe.segmentation import SegmentationConfig, Segmenter, Span

RATE = 100


def waiting(scheduler: Scheduler, seconds: list[float]) -> None:
    """A recording that has been read, with spans of so many seconds each."""
    recording = ArrayRecording(np.zeros(RATE, dtype=np.float32), RATE)
    request = Request(
        recording, RequestOptions(bulk=True), Segmenter(SegmentationConfig(vad=None), RATE), threading.Lock()
    )
    for number, length in enumerate(seconds):
        samples = round(length * RATE)
        span = Span(number * 10_000, np.zeros(samples, dtype=np.float32), RATE, (number * 10_000, samples))
        request.ready.append(SpanTask(request, span))
        request.ready_seconds += length
    request.is_read = True
    scheduler.add(request)


def batches(scheduler: Scheduler) -> list[int]:
    found = []
    while batch := scheduler.next_batch():
        found.append(len(batch))
    return found


def test_a_batch_is_as_full_as_its_seconds_and_its_spans_allow() -> None:
    assert fullest_batch([10.0] * 20, 0, 100.0) == slice(0, 10)
    assert fullest_batch([10.0] * 20, 0, 100.0, max_spans=4) == slice(0, 4)
    scheduler = Scheduler(100.0, max_spans=4)
    waiting(scheduler, [10.0] * 9)
    assert batches(scheduler) == [4, 4, 1]


def test_what_is_left_is_shared_between_lanes() -> None:
    one, two = Scheduler(240.0), Scheduler(240.0, num_lanes=2)
    for scheduler in (one, two):
        waiting(scheduler, [30.0] * 8)
    assert batches(one) == [8]
    assert batches(two) == [4, 4]


def test_little_is_not_shared() -> None:
    scheduler = Scheduler(240.0, num_lanes=4)
    waiting(scheduler, [10.0] * 6)
    assert batches(scheduler) == [6]
