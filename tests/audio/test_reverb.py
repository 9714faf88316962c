"""Echoes die away as fast as asked for and leave the direct sound alone."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from asr.audio.augment import AugmentConfig, WaveformAugment
from asr.audio.reverb import PRE_DELAY, ReverbConfig, add_echoes, draw_tail, echo_tail

RATE = 16000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def schroeder_rt60(response: np.ndarray, sample_rate: int) -> float:
    """Reverberation time by Schroeder's backward integration, fitted from -5 to -35 dB as ISO 3382 measures T30."""
    left = np.cumsum(response[::-1] ** 2)[::-1]
    decibels = 10 * np.log10(left / left[0])
    fitted = (decibels < -5) & (decibels > -35)
    slope, _ = np.polyfit(np.flatnonzero(fitted) / sample_rate, decibels[fitted], 1)
    return float(-60 / slope)


@pytest.mark.parametrize("sample_rate", [8000, 16000])
@pytest.mark.parametrize("rt60", [0.2, 0.5, 1.5])
def test_energy_falls_by_60_decibels_in_the_time_asked_for(rt60, sample_rate):
    measured = [schroeder_rt60(echo_tail(rt60, 0.0, sample_rate, rng(seed)), sample_rate) for seed in range(10)]
    assert np.mean(measured) == pytest.approx(rt60, rel=0.05)
    assert max(measured) < 1.25 * rt60
    assert min(measured) > 0.75 * rt60


@pytest.mark.parametrize("ratio_db", [-3.0, 0.0, 12.0])
def test_echoes_have_the_energy_asked_for_and_begin_after_the_direct_sound(ratio_db):
    tail = echo_tail(0.4, ratio_db, RATE, rng())
    assert 10 * np.log10(1 / np.sum(tail**2)) == pytest.approx(ratio_db, abs=1e-9)
    assert not tail[: int(PRE_DELAY * RATE)].any()


def test_drawn_rooms_lie_between_the_bounds():
    config = ReverbConfig(rt60=(0.2, 0.4), direct_to_reverberant_db=(3, 9))
    generator = rng()
    tails = [draw_tail(config, RATE, generator) for _ in range(30)]
    assert 0.2 * RATE <= min(map(len, tails)) < 0.25 * RATE
    assert 0.35 * RATE < max(map(len, tails)) <= 0.4 * RATE
    ratios = [-10 * np.log10(np.sum(tail**2)) for tail in tails]
    assert 3 <= min(ratios) < 4.5
    assert 7.5 < max(ratios) <= 9


@pytest.mark.parametrize("num_samples", [1, 500, 20_000])
def test_echoes_are_those_of_a_plain_convolution(num_samples):
    waveform = rng(1).standard_normal(num_samples).astype(np.float32)
    tail = echo_tail(0.3, 0.0, RATE, rng(2))
    response = tail.copy()
    response[0] += 1  # the direct sound
    wanted = np.convolve(waveform.astype(np.float64), response)[:num_samples]
    np.testing.assert_allclose(add_echoes(waveform, tail), wanted, atol=1e-5)


def test_the_direct_sound_keeps_its_place_and_level():
    click = np.zeros(RATE, dtype=np.float32)
    click[RATE // 2] = 0.5
    wet = WaveformAugment(AugmentConfig(reverb=ReverbConfig(probability=1)), RATE)(click, rng())
    assert wet.shape == click.shape
    assert wet.dtype == np.float32
    assert wet[RATE // 2] == pytest.approx(0.5, abs=1e-6)
    np.testing.assert_allclose(wet[: RATE // 2], 0, atol=1e-6)
    assert np.sum(wet[RATE // 2 + 1 :] ** 2) > 0.1 * 0.5**2 * 10**-1.5


def test_silence_stays_silence():
    wet = WaveformAugment(AugmentConfig(reverb=ReverbConfig(probability=1)), RATE)(np.zeros(5000, np.float32), rng())
    np.testing.assert_array_equal(wet, np.zeros(5000, np.float32))


def test_so_many_waveforms_get_echoes_as_asked_for():
    augment = WaveformAugment(AugmentConfig(reverb=ReverbConfig(probability=0.3)), RATE)
    dry = rng(1).standard_normal(800).astype(np.float32)
    generator = rng()
    wet = sum(not np.array_equal(augment(dry, generator), dry) for _ in range(400))
    assert 0.2 < wet / 400 < 0.4


def test_the_generator_alone_decides():
    augment = WaveformAugment(AugmentConfig(reverb=ReverbConfig(probability=1)), RATE)
    dry = rng(1).standard_normal(4000).astype(np.float32)
    first, again, other = (augment(dry, rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "values", [{"rt60": (0.8, 0.2)}, {"rt60": (0.0, 0.5)}, {"probability": 2}, {"direct_to_reverberant_db": (9, 3)}]
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ValidationError):
        ReverbConfig.model_validate(values)
