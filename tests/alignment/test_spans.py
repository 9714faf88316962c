"""Words from stretches that touch: silence is cut off, boundaries move to where it is quiet."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.alignment.spans import word_times_of_spans
from asr.alignment.timing import loudness

RATE = 1000


def sound(*stretches: tuple[float, float], duration: float) -> np.ndarray:
    """The loudness of noise in these stretches (from, to), with next to silence around it."""
    waveform = np.random.default_rng(0).standard_normal(round(duration * RATE)) * 1e-4
    for start, end in stretches:
        waveform[round(start * RATE) : round(end * RATE)] *= 1000
    return loudness(waveform.astype(np.float32), RATE)


def test_a_word_that_was_given_the_silence_around_it_begins_and_ends_with_its_sound() -> None:
    ((start, end),) = word_times_of_spans([(0.0, 3.0)], sound((1.2, 1.8), duration=3.0), 3.0)
    assert start == pytest.approx(1.2, abs=0.03)
    assert end == pytest.approx(1.8, abs=0.03)


def test_a_pause_between_words_belongs_to_neither() -> None:
    loud = sound((0.5, 1.0), (1.6, 2.2), duration=3.0)
    times = word_times_of_spans([(0.0, 1.1), (1.1, 3.0)], loud, 3.0)
    assert np.ravel(times).tolist() == pytest.approx([0.5, 1.0, 1.6, 2.2], abs=0.03)


def test_without_any_pause_a_boundary_stays_where_the_alignment_has_it() -> None:
    times = word_times_of_spans([(0.0, 1.0), (1.0, 2.0)], sound((0.0, 2.0), duration=2.0), 2.0)
    assert times[0][1] == times[1][0] == pytest.approx(1.0, abs=0.25)


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=12),
    st.lists(st.booleans(), min_size=130, max_size=130),
    st.integers(-3, 3),
)
def test_words_are_in_order_inside_the_audio_and_never_empty(lengths, loud, beyond):
    edges = np.cumsum([0, *lengths]) * 0.02
    duration = float(edges[-1]) + 0.001 * beyond
    waveform = np.repeat(np.where(loud, 0.3, 1e-4), 100)[: round(duration * RATE)]
    times = word_times_of_spans(list(itertools.pairwise(edges.tolist())), loudness(waveform, RATE), duration)
    moments = [0.0, *np.ravel(times).tolist(), duration]
    assert moments == sorted(moments)
    assert all(end - start > 0.0 for start, end in times)
