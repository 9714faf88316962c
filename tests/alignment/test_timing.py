"""Word boundaries from spikes and loudness: pauses belong to no word, words do not overlap and contain their spikes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.alignment.timing import HOP, SPIKE_DELAY, loudness, word_times

RATE = 16000


def audio(*loud: tuple[float, float], seconds: float = 2.0, floor: float = 0.001) -> np.ndarray:
    """Noise that is a hundred times as strong in some stretches."""
    waveform = np.random.default_rng(0).normal(0, floor, round(seconds * RATE))
    for start, end in loud:
        waveform[round(start * RATE) : round(end * RATE)] *= 100
    return waveform.astype(np.float32)


def times(waveform: np.ndarray, *spikes: tuple[float, float]) -> list[tuple[float, float]]:
    return word_times(spikes, loudness(waveform, RATE), len(waveform) / RATE)


def test_loudness_is_the_power_around_every_hop() -> None:
    waveform = audio((0.5, 1.0))
    values = loudness(waveform, RATE)
    assert len(values) == 201
    for place in (1, 30, 77, 199):
        around = waveform[(place - 1) * 160 : (place + 1) * 160].astype(np.float64)
        assert values[place] == pytest.approx(10 * np.log10(np.mean(around**2) + 1e-10))


@pytest.mark.parametrize("num_samples", [0, 1, 159, 160])
def test_audio_shorter_than_a_window_has_a_loudness(num_samples: int) -> None:
    assert (loudness(np.zeros(num_samples, dtype=np.float32), RATE) == -100).all()


def test_words_begin_and_end_where_the_sound_does() -> None:
    found = times(audio((0.3, 0.7), (1.1, 1.6)), (0.36, 0.4), (1.16, 1.2))
    assert np.ravel(found) == pytest.approx([0.3, 0.7, 1.1, 1.6], abs=0.02)


def test_words_without_a_pause_meet_a_little_before_the_second_spike() -> None:
    (_, end), (start, _) = times(audio((0.3, 1.0)), (0.36, 0.4), (0.64, 0.68))
    assert end == start == pytest.approx(0.64 - SPIKE_DELAY)


def test_a_short_closure_inside_a_word_is_no_pause() -> None:
    (_, end), (start, _) = times(audio((0.3, 0.5), (0.57, 1.0)), (0.36, 0.4), (0.8, 0.84))
    assert end == start == pytest.approx(0.8 - SPIKE_DELAY)


def test_a_click_before_a_word_is_not_its_onset() -> None:
    ((start, _),) = times(audio((0.2, 0.24), (0.6, 1.0)), (0.64, 0.68))
    assert start == pytest.approx(0.6, abs=0.02)


def test_speech_that_is_in_no_word_stays_outside_all_words() -> None:
    (_, end), (start, _) = times(audio((0.2, 0.5), (0.8, 1.1), (1.5, 1.8)), (0.24, 0.28), (1.56, 1.6))
    assert (end, start) == pytest.approx((0.5, 1.5), abs=0.02)


def test_without_silence_the_first_word_begins_near_its_spike_and_the_last_lasts_to_the_end() -> None:
    steady = np.full(RATE, 0.1, dtype=np.float32)
    assert times(steady, (0.4, 0.44)) == [(pytest.approx(0.4 - SPIKE_DELAY), 1.0)]


def test_digital_silence_and_no_words_are_no_trouble() -> None:
    assert times(np.zeros(RATE, dtype=np.float32)) == []
    ((start, end),) = times(np.zeros(RATE, dtype=np.float32), (0.4, 0.44))
    assert start <= 0.4 < 0.44 <= end


@given(
    moments=st.lists(st.integers(0, 49), min_size=1, max_size=20, unique=True).map(sorted),
    bursts=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 0.5)), max_size=5),
)
def test_words_never_overlap_and_contain_their_spikes(moments: list[int], bursts: list[tuple[float, float]]) -> None:
    spikes = [(0.04 * moment, 0.04 * (moment + 1)) for moment in moments]
    found = times(audio(*((start, start + length) for start, length in bursts)), *spikes)
    for (start, end), (first, last) in zip(found, spikes, strict=True):
        assert start <= first + 1e-9
        assert last - 1e-9 <= end
    edges = [0.0, *itertools.chain(*found), 2.0]
    assert edges == sorted(edges)


def test_times_do_not_change_by_more_than_a_hop_if_all_gets_softer() -> None:
    waveform = audio((0.3, 0.7), (1.1, 1.6))
    loud, soft = (np.ravel(times(scale * waveform, (0.36, 0.4), (1.16, 1.2))) for scale in (1.0, 0.2))
    assert np.abs(loud - soft).max() <= HOP + 1e-9
