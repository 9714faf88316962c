"""Cuts fall into pauses, lose nothing, and do not depend on how the audio arrives."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.errors import ConfigError
from asr.transcribe.long_form import pause_depth, quietest_point, split_windows

RATE = 1000  # Hz; nothing here depends on it


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=round(seconds * RATE)).astype(np.float32)


def blocks_of(waveform: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (waveform[start : start + size] for start in range(0, len(waveform), size))


def test_the_cut_falls_into_the_pause() -> None:
    waveform = noise(10)
    waveform[7000:7400] *= 0.01
    first, second = split_windows([waveform], RATE, 9.0)
    assert 7.0 <= second.start <= 7.4
    assert first.start == 0
    assert len(first.waveform) == round(second.start * RATE)


def test_a_pause_before_the_second_half_is_not_taken() -> None:
    waveform = noise(10)
    waveform[1000:1400] = 0
    assert quietest_point(waveform, RATE, 5000) >= 5000


def test_digital_silence_is_cut_as_late_as_possible() -> None:
    spans = list(split_windows([np.zeros(25 * RATE, dtype=np.float32)], RATE, 10.0))
    assert len(spans) == 3
    assert all(len(span.waveform) > 9.8 * RATE for span in spans[:-1])


@settings(max_examples=40, deadline=None)
@given(seconds=st.floats(0, 30), limit=st.floats(1, 12), block=st.integers(1, 9000), other_block=st.integers(1, 9000))
def test_spans_join_to_the_recording_whatever_the_blocks(
    seconds: float, limit: float, block: int, other_block: int
) -> None:
    waveform = noise(seconds)
    spans = list(split_windows(blocks_of(waveform, block), RATE, limit))
    assert np.array_equal(np.concatenate([np.zeros(0), *(span.waveform for span in spans)]), waveform)
    for span, next_span in pairwise(spans):
        assert limit / 2 - 0.01 <= len(span.waveform) / RATE <= limit
        assert round(span.start * RATE) + len(span.waveform) == round(next_span.start * RATE)
        assert span.end == next_span.start
    starts = [span.start for span in split_windows(blocks_of(waveform, other_block), RATE, limit)]
    assert starts == [span.start for span in spans]


def test_a_stream_is_read_no_further_than_the_next_span_needs() -> None:
    num_read = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal num_read
        while True:
            num_read += 1
            yield noise(1)

    spans = split_windows(endless(), RATE, 5.0)
    next(spans)
    assert num_read == 6


@pytest.mark.parametrize("limit", [0.5, -1.0, float("nan")])
def test_a_limit_below_one_second_is_refused(limit: float) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        next(split_windows([noise(3)], RATE, limit))


def test_a_pause_is_as_deep_as_it_is_quieter_than_the_rest() -> None:
    waveform = noise(10)
    waveform[7000:7400] *= 0.01
    assert pause_depth(waveform, RATE, 7200) == pytest.approx(40, abs=0.5)
    assert pause_depth(waveform, RATE, 3000) == pytest.approx(0, abs=1.0)
    assert pause_depth(np.zeros(RATE, dtype=np.float32), RATE, 500) == 0
