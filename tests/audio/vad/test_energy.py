"""Voice activity by energy, on tones and noises whose places are known."""

from __future__ import annotations

import numpy as np
import pytest

from asr.audio.vad import VADS, EnergyVadConfig
from asr.audio.vad.energy import band_levels_db

RATE = 16000
FRAME = 512


def probabilities(samples: np.ndarray, rate: int = RATE, **settings: float) -> np.ndarray:
    stream = VADS.part("energy")(EnergyVadConfig.model_validate(settings), rate).stream()
    return np.concatenate((stream.push(samples.astype(np.float32)), stream.finish()))


def noise(seconds: float, level_db: float, seed: int = 0) -> np.ndarray:
    return 10 ** (level_db / 20) * np.random.default_rng(seed).standard_normal(round(RATE * seconds))


def voice(seconds: float, level_db: float = -20.0) -> np.ndarray:
    """Syllables: a vowel of harmonics of 120 Hz for 190 ms, then 64 ms of almost nothing."""
    time = np.arange(round(RATE * seconds)) / RATE
    harmonics = sum(np.sin(2 * np.pi * 120 * number * time) / number for number in range(1, 20))
    spoken = np.where(time % 0.256 < 0.192, 1.0, 0.01)
    return 10 ** (level_db / 20) * harmonics * spoken


def test_a_level_is_that_of_the_tone_in_its_band() -> None:
    tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(FRAME) / RATE)
    levels = band_levels_db(tone[None].astype(np.float32))[0]
    edges = 700 * ((1 + 4000 / 700) / (1 + 100 / 700)) ** (np.arange(9) / 8) * (1 + 100 / 700) - 700  # even in mel
    band = np.searchsorted(edges, 1000) - 1
    assert levels[band] == pytest.approx(20 * np.log10(0.1 / np.sqrt(2)), abs=0.1)
    assert (np.delete(levels, band) < -60).sum() + np.isinf(levels).sum() == 7


@pytest.mark.parametrize("level_db", [-90.0, -60.0, -30.0, -10.0])
def test_steady_noise_is_no_speech_however_loud(level_db: float) -> None:
    assert (probabilities(noise(30, level_db)) > 0.5).mean() < 0.001


def test_mains_hum_is_no_speech_and_hides_none() -> None:
    time = np.arange(RATE * 20) / RATE
    hum = sum(0.1 / order * np.sin(2 * np.pi * 50 * order * time) for order in (1, 2, 3, 5, 7)) + noise(20, -70)
    hum[RATE * 12 : RATE * 13] += voice(1, -30)
    found = probabilities(hum) > 0.5
    said = slice(RATE * 12 // FRAME, RATE * 13 // FRAME)
    assert found[said].mean() > 0.7
    assert np.delete(found, np.r_[said.start - 1 : said.stop + 2]).sum() == 0


@pytest.mark.parametrize("gain_db", [-30.0, 20.0])
def test_decisions_do_not_depend_on_the_gain(gain_db: float) -> None:
    pieces = [noise(2, -60), voice(1.5) + noise(1.5, -60, 1), noise(3, -60, 2), voice(1, -35) + noise(1, -60, 3)]
    samples = np.concatenate(pieces)
    plain = probabilities(samples)
    assert 0.2 < (plain > 0.5).mean() < 0.5
    np.testing.assert_allclose(probabilities(samples * 10 ** (gain_db / 20)), plain, atol=1e-3)


def test_speech_after_digital_silence_is_found_from_its_first_frame() -> None:
    samples = np.concatenate((np.zeros(FRAME * 100), voice(2.56) + noise(2.56, -60)))
    found = probabilities(samples) > 0.5
    assert not found[:99].any()
    assert found[100:105].all()


def test_speech_from_the_first_sample_on_is_found() -> None:
    found = probabilities(np.concatenate((voice(2.56), np.zeros(RATE))) + noise(3.56, -60)) > 0.5
    assert found[:78].mean() > 0.9
    assert found[:5].all()
    assert not found[82:].any()


def test_noise_that_becomes_louder_is_floor_within_ten_seconds() -> None:
    found = probabilities(np.concatenate((noise(5, -70), noise(20, -40, 1)))) > 0.5
    second = RATE / FRAME
    assert found[round(6 * second)]
    assert not found[round(15 * second) :].any()


def test_the_threshold_is_the_height_with_probability_one_half() -> None:
    samples = np.concatenate((noise(10, -60), voice(1, -55) + noise(1, -60, 1), noise(2, -60, 2)))
    shares = [(probabilities(samples, threshold_db=height) > 0.5).sum() for height in (4.0, 12.5, 40.0)]
    assert shares[0] > shares[1] > shares[2] == 0


def test_frames_wait_for_their_second_and_no_longer() -> None:
    stream = VADS.part("energy")(EnergyVadConfig(), RATE).stream()
    ready = len(stream.push(np.zeros(FRAME * 100, dtype=np.float32)))
    assert 100 - 33 <= ready < 100
    assert ready + len(stream.finish()) == 100
