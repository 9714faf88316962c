"""What is measured of a stretch of audio does not depend on blocks, containers or neighbours."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.corpora.doctor import audio
from asr.corpora.doctor.audio import AudioFault, AudioFile, Measurement, Stretch, examine

RATE = 8000


def measured(path: Path, start: float = 0.0, duration: float = 1e9, whole: bool = True) -> Measurement:
    ((_, result),) = examine(AudioFile(path, (Stretch(0, start, duration, whole=whole),)))
    assert isinstance(result, Measurement), result
    return result


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE))
    return np.round(samples * 32768).astype(np.float32) / 32768


def test_the_digest_is_that_of_the_samples_whatever_holds_them(tmp_path):
    for name, subtype in (("a.wav", "PCM_16"), ("a.flac", "PCM_16"), ("b.wav", "FLOAT"), ("a.aiff", "PCM_24")):
        soundfile.write(tmp_path / name, noise(1.0), RATE, subtype=subtype)
    soundfile.write(tmp_path / "other.wav", noise(1.0, seed=1), RATE)
    soundfile.write(tmp_path / "faster.wav", noise(1.0), RATE + 1)
    digests = [measured(path).digest for path in sorted(tmp_path.iterdir())]
    assert len(set(digests[:4])) == 1  # a.aiff, a.flac, a.wav, b.wav
    assert len(set(digests)) == 3


def test_a_stretch_is_the_same_audio_as_a_file_of_its_own(tmp_path):
    soundfile.write(tmp_path / "all.wav", noise(3.0), RATE)
    soundfile.write(tmp_path / "part.wav", noise(3.0)[RATE : 2 * RATE], RATE)
    assert measured(tmp_path / "all.wav", 1.0, 1.0, whole=False).digest == measured(tmp_path / "part.wav").digest


def test_blocks_leave_no_trace(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", noise(3.0), RATE)
    at_once = measured(tmp_path / "a.wav", 0.52, 1.7, whole=False)
    monkeypatch.setattr(audio, "BLOCK", 0.3)
    in_blocks = measured(tmp_path / "a.wav", 0.52, 1.7, whole=False)
    assert (in_blocks.digest, in_blocks.num_samples, in_blocks.peak) == (at_once.digest, 13600, at_once.peak)


def test_levels_are_those_of_a_known_signal(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)  # 20 whole periods a frame
    tone[RATE // 2 :] *= 0.1
    soundfile.write(tmp_path / "tone.wav", tone, RATE, subtype="FLOAT")
    result = measured(tmp_path / "tone.wav")
    assert result.peak == pytest.approx(0.5)
    assert result.loudest == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=1e-4)
    assert result.rise == pytest.approx(20.0, abs=1e-4)


def test_samples_in_flat_tops_are_counted_and_lower_ones_forgotten_at_a_higher_peak(tmp_path):
    samples = noise(1.0) * np.float32(0.1)
    samples[100:110] = 0.2
    soundfile.write(tmp_path / "low.wav", samples, RATE, subtype="FLOAT")
    assert measured(tmp_path / "low.wav").clipped == pytest.approx(10 / RATE)
    samples[500:504] = -0.3
    samples[600:602] = 0.3  # two are no top
    soundfile.write(tmp_path / "high.wav", samples, RATE, subtype="FLOAT")
    assert measured(tmp_path / "high.wav").clipped == pytest.approx(4 / RATE)


def test_damage_spares_the_stretches_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "BLOCK", 1.0)
    monkeypatch.setattr("asr.audio.sndfile.BLOCK_SAMPLES", RATE)
    samples = noise(4.0)
    samples[3 * RATE] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    results = dict(examine(AudioFile(tmp_path / "a.wav", tuple(Stretch(n, float(n), 0.9) for n in range(4)))))
    assert [type(results[n]) for n in range(4)] == [Measurement, Measurement, Measurement, AudioFault]
    assert results[3].code == "not_finite"


def test_a_stretch_beyond_the_end_has_no_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1.0), RATE)
    assert measured(tmp_path / "a.wav", 5.0, 1.0, whole=False).num_samples == 0
    assert measured(tmp_path / "a.wav", 1e300, 1e300, whole=False).num_samples == 0
    assert measured(tmp_path / "a.wav", 5.0, 1.0, whole=False).file_seconds == 1.0


def test_doubts_about_a_file_are_codes_and_no_warnings(tmp_path):
    soundfile.write(tmp_path / "a.wav", 32768 * noise(1.0), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", np.stack([noise(1.0), -noise(1.0)], axis=1), RATE, subtype="FLOAT")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [code for code, _ in measured(tmp_path / "a.wav").doubts] == ["unscaled"]
        ((code, reason),) = measured(tmp_path / "b.wav").doubts
    assert code == "opposite_phases"
    assert reason.startswith("the 2 channels are in opposite phases")
