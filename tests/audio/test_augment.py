"""Speed, noise and gain on waveforms, and all that augmentation does together."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from asr.audio.augment import AugmentConfig, NoiseConfig, WaveformAugment, add_noise, change_speed, coloured_noise
from asr.audio.io import write_wav
from asr.audio.resample import resample
from asr.audio.reverb import ReverbConfig
from asr.errors import AudioError, TrainingError

RATE = 16000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tone(frequency: float, num_samples: int = RATE) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(num_samples) / RATE).astype(np.float32)


def peak_frequency(waveform: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(waveform))) * RATE / len(waveform))


def test_faster_speech_is_shorter_and_higher():
    fast = change_speed(tone(1000), 1.25, RATE)
    assert len(fast) == RATE / 1.25
    assert peak_frequency(fast) == pytest.approx(1250, abs=2)


def test_speeds_are_drawn_from_the_list_and_stretch_is_known():
    augment = WaveformAugment(AugmentConfig(speeds=(0.8, 1.0, 1.25)), RATE)
    generator = rng()
    lengths = {len(augment(tone(500), generator)) for _ in range(40)}
    assert lengths == {20000, 16000, 12800}
    assert augment.max_stretch == 1.25
    assert augment.min_stretch == 0.8


def test_speeds_of_a_range_stay_inside_it():
    augment = WaveformAugment(AugmentConfig(speed_range=(0.9, 1.1)), RATE)
    generator = rng()
    lengths = [len(augment(tone(500), generator)) for _ in range(40)]
    assert RATE / 1.1 - 1 <= min(lengths) < 15500
    assert 16500 < max(lengths) <= RATE / 0.9 + 1


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_has_the_ratio_asked_for(snr_db):
    speech, noise = tone(440), coloured_noise(RATE, rng())
    added = add_noise(speech, noise, snr_db) - speech
    ratio = 10 * np.log10(np.mean(speech**2) / np.mean(added**2))
    assert ratio == pytest.approx(snr_db, abs=0.01)


def test_synthesised_noise_comes_in_many_colours():
    def share_below_1_khz(seed: int) -> float:
        power = np.abs(np.fft.rfft(coloured_noise(RATE, rng(seed)))) ** 2
        return float(power[:1000].sum() / power.sum())

    shares = [share_below_1_khz(seed) for seed in range(20)]
    assert min(shares) < 0.3
    assert max(shares) > 0.95


@pytest.mark.parametrize("seconds", [0.3, 3.0])
def test_noise_files_are_found_in_folders_and_cut_or_repeated(tmp_path, seconds):
    write_wav(tmp_path / "deep" / "hum.wav", 0.5 * tone(250, int(RATE * seconds)), RATE)
    for place in (tmp_path, tmp_path / "deep" / "hum.wav", tmp_path / "**" / "*.wav"):
        config = AugmentConfig(noise=NoiseConfig(files=(str(place),), snr_db=(0, 0), probability=1))
        noisy = WaveformAugment(config, RATE)(tone(3000), rng())
        assert noisy.shape == (RATE,)
        assert peak_frequency(noisy - tone(3000)) == pytest.approx(250, abs=2)


def test_noise_that_breaks_during_training_is_no_fault_of_an_utterance(tmp_path):
    path = tmp_path / "hum.wav"
    write_wav(path, 0.5 * tone(250), RATE)
    augment = WaveformAugment(AugmentConfig(noise=NoiseConfig(files=(str(path),), probability=1)), RATE)
    path.write_bytes(b"no audio")
    with pytest.raises(TrainingError, match=r"noise\.files: .*hum\.wav.*--resume"):
        augment(tone(3000), rng())


def test_noise_files_that_do_not_exist_are_an_error(tmp_path):
    with pytest.raises(AudioError, match="nowhere"):
        WaveformAugment(AugmentConfig(noise=NoiseConfig(files=(str(tmp_path / "nowhere"),))), RATE)


def test_gain_is_in_decibels():
    loud = WaveformAugment(AugmentConfig(gain_db=(-6.0206, -6.0206)), RATE)(tone(300), rng())
    np.testing.assert_allclose(loud, tone(300) / 2, atol=1e-5)


EVERYTHING = AugmentConfig(
    speed_range=(0.5, 2.0),
    gain_db=(-100, 100),
    reverb=ReverbConfig(probability=1, rt60=(0.05, 5), direct_to_reverberant_db=(-100, 100)),
    noise=NoiseConfig(snr_db=(-100, 100), probability=1),
)


@pytest.mark.parametrize("num_samples", [0, 1, 2, 7, 1000])
@pytest.mark.parametrize("level", [0.0, 1e-30, 1.0])
def test_nothing_impossible_comes_out_of_silence_and_scraps(num_samples, level):
    augment = WaveformAugment(EVERYTHING, RATE)
    for seed in range(20):
        changed = augment(np.full(num_samples, level, dtype=np.float32), rng(seed))
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()


def test_the_generator_alone_decides():
    augment = WaveformAugment(EVERYTHING, RATE)
    first, again, other = (augment(tone(300), rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other)


def test_the_waveform_given_is_not_changed():
    waveform = tone(300)
    WaveformAugment(AugmentConfig(gain_db=(6, 6), noise=NoiseConfig(probability=1)), RATE)(waveform, rng())
    np.testing.assert_array_equal(waveform, tone(300))


@pytest.mark.parametrize(
    "values",
    [
        {"speeds": (0.0, 1.0)},
        {"speeds": (3.0,)},
        {"speeds": (1.0,), "speed_range": (0.9, 1.1)},
        {"speed_range": (1.1, 0.9)},
        {"gain_db": (3, -3)},
        {"noise": {"probability": 1.5}},
        {"noise": {"snr_db": (20, 10)}},
        {"volume": 3},
    ],
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ValidationError):
        AugmentConfig.model_validate(values)


def test_resampling_keeps_a_tone_and_refuses_impossible_rates():
    low = resample(tone(1000), RATE, 8000)
    assert len(low) == 8000
    np.testing.assert_allclose(low[200:-200], tone(1000)[::2][200:-200], atol=1e-3)
    with pytest.raises(AudioError, match="positive"):
        resample(tone(1000), RATE, 0)
