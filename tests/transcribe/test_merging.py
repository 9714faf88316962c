"""Spans that share a window: what is merged, and that every sample and every frame of the detector keeps its place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.transcribe.merging import Merger, joined
from asr.transcribe.segmentation import Activity, Span

RATE = 100
FRAME = 0.1


def span(start: float, end: float, certainty: float = 1.0, *, continues: bool = False) -> Span:
    first, last = round(start * RATE), round(end * RATE)
    frames = np.full(round((end - start) / FRAME), certainty, dtype=np.float32)
    waveform = np.arange(first, last, dtype=np.float32) + 1.0
    return Span(first, waveform, RATE, (first, last), continues, Activity(start, FRAME, frames))


def merged(spans: Sequence[Span], most: float = 30.0) -> list[Span]:
    merger = Merger(most)
    return [*merger.push(spans), *merger.finish()]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([span(0, 10), span(10, 20), span(21, 30)], [(0.0, 30.0)]),
        ([span(0, 10), span(10, 20), span(21, 31)], [(0.0, 20.0), (21.0, 31.0)]),
        ([span(0, 5), span(8, 9)], [(0.0, 5.0), (8.0, 9.0)]),  # too much silence between
        ([span(0, 5), span(5, 9, 0.5), span(9, 12)], [(0.0, 5.0), (5.0, 9.0), (9.0, 12.0)]),  # perhaps noise
        ([span(0, 5), span(5, 9, continues=True), span(6, 12)], [(0.0, 9.0), (6.0, 12.0)]),  # which share some audio
    ],
)
def test_what_follows_closely_shares_a_window(spans: list[Span], expected: list[tuple[float, float]]) -> None:
    found = merged(spans)
    assert [(one.start, one.end) for one in found] == expected
    assert [one.continues for one in found] == [(one.end == 9.0 and one.start == 0.0) for one in found]


def test_without_windows_each_span_comes_by_itself_and_at_once() -> None:
    merger = Merger(0.0)
    spans = [span(0, 1), span(1, 2)]
    assert list(merger.push(spans)) == spans
    assert not list(merger.finish())


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 2)), min_size=1, max_size=12))
def test_nothing_moves_and_nothing_is_lost(parts: list[tuple[int, int]]) -> None:
    spans, now = [], 0.0
    for seconds, gap in parts:
        spans.append(span(now + gap, now + gap + seconds))
        now += gap + seconds
    found = merged(spans, 12.0)
    held = np.zeros(round(now * RATE), dtype=np.float32)
    for one in found:
        assert one.duration <= 12.0
        held[one.first : one.first + len(one.waveform)] += one.waveform
        assert one.activity is not None
        assert len(one.activity.probabilities) == round(one.duration / FRAME)
    for own in spans:
        assert (held[own.first : own.first + len(own.waveform)] == own.waveform).all()
    assert held.astype(bool).sum() == sum(len(own.waveform) for own in spans)


def test_between_spans_there_is_silence_and_no_speech() -> None:
    one = joined([span(0, 1), span(2, 3)])
    assert one.activity is not None
    assert not one.waveform[RATE : 2 * RATE].any()
    assert one.activity.stretches(0.5, 0.3) == [(0.0, 1.0), (2.0, 3.0)]
    assert one.speech == (0, 3 * RATE)
