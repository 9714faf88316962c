"""Whole milliseconds within a recording."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.transcribe.timeline import by_channel, clock, disjoint, milliseconds, recording_end
from asr.types import Segment, Transcript, Word

MOMENTS = st.integers(-5, 40)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(MOMENTS, MOMENTS), max_size=12), st.integers(0, 40))
def test_any_spans_become_disjoint_ones_within_the_limit(spans: list[tuple[int, int]], limit: int) -> None:
    placed = disjoint(spans, limit)
    assert len(placed) == len(spans)
    edges = [0, *itertools.chain(*placed), max(limit, len(spans))]
    assert all(one <= other for one, other in itertools.pairwise(edges))
    assert all(start < end for start, end in placed)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 100), unique=True, max_size=12).map(sorted))
def test_spans_that_are_disjoint_stay_as_they_are(edges: list[int]) -> None:
    spans = list(zip(edges[::2], edges[1::2], strict=False))
    assert disjoint(spans, 100) == spans


def test_a_moment_is_rounded_and_kept_in_the_recording() -> None:
    assert [milliseconds(moment, 2000) for moment in (-0.1, 0.0004, 1.2346, 2.0004)] == [0, 0, 1235, 2000]


@pytest.mark.parametrize(("duration", "end"), [(1.001, 1001), (3599.9996, 3_599_999), (0.0, 0)])
def test_a_recording_ends_at_its_last_whole_millisecond(duration: float, end: int) -> None:
    assert recording_end(Transcript(()), duration) == end


@pytest.mark.parametrize(("heard", "end"), [(10.01, 10_000), (14.0, 14_000)])
def test_speech_well_past_the_stated_end_is_believed_and_rounding_is_not(heard: float, end: int) -> None:
    word = Word(9.5, heard, "a")
    assert recording_end(Transcript((Segment(9.0, 9.8, "a", (word,)),)), 10.0) == end


@pytest.mark.parametrize(
    ("time", "text"), [(0, "00:00:00.000"), (59_999, "00:00:59.999"), (360_061_007, "100:01:01.007")]
)
def test_a_clock_counts_hours_minutes_seconds_and_milliseconds(time: int, text: str) -> None:
    assert clock(time, ".") == text


def test_channels_are_told_apart_and_put_in_order() -> None:
    one, two, three = Segment(0, 2, "a", channel=1), Segment(1, 2, "b", channel=0), Segment(3, 4, "c", channel=1)
    assert list(by_channel(Transcript((one, two, three))).items()) == [(0, [two]), (1, [one, three])]
