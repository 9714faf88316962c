"""Samples that no recording holds, samples hardly meant so, and what is left of a file that breaks off."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio.io import load_audio, read_blocks
from asr.audio.samples import MAX_LEVEL
from asr.errors import AudioError, AudioWarning, NonFiniteAudioError, OutOfRangeAudioError, TruncatedAudioError
from asr.features import build_frontend
from asr.features.fbank import FbankConfig

RATE = 16000


def noise(num_samples: int = RATE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, num_samples)


def float_wav(path: Path, samples: np.ndarray) -> Path:
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return path


@pytest.mark.parametrize("value", [3e38, -3e38, 1e15, 1e10, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_sample_that_is_no_sound_is_an_error_that_names_file_and_sample(
    tmp_path: Path, value: float, channels: int
) -> None:
    samples = np.stack([noise(seed=channel) for channel in range(channels)], axis=1)
    samples[7770, channels - 1] = value
    path = float_wav(tmp_path / "spike.wav", samples)
    kind = OutOfRangeAudioError if np.isfinite(value) else NonFiniteAudioError
    for read in (load_audio, lambda path: list(read_blocks(path, 8000, 0.1))):
        with pytest.raises(kind, match=r"spike\.wav: .*sample 7770 \(at 0\.486 s\) is -?(3e\+38|1e\+1[05]|inf|nan)"):
            read(path)
    assert len(load_audio(path, RATE, start=0.5)) == 8000
    with pytest.raises(kind, match="sample 7770 "):
        load_audio(path, RATE, start=0.25, duration=0.5)
    if channels == 2:
        assert len(load_audio(path, RATE, channel=0)) == RATE


def test_the_loudest_samples_that_pass_give_features_that_are_numbers(tmp_path: Path) -> None:
    samples = np.sign(noise()) * MAX_LEVEL
    with pytest.warns(AudioWarning):
        waveform = load_audio(float_wav(tmp_path / "a.wav", samples))
    for use_energy in (False, True):
        frontend = build_frontend(FbankConfig(use_energy=use_energy))
        assert frontend.extract(waveform, RATE, normalize=False).isfinite().all()


@pytest.mark.parametrize("scale", [127, 32767, 2.0**31])
def test_integers_written_as_floats_are_warned_about_once(tmp_path: Path, scale: float) -> None:
    path = float_wav(tmp_path / "a.wav", np.clip(noise(5 * RATE), -1, 1) * 2 * scale)
    with pytest.warns(AudioWarning, match=r"a\.wav: samples reach \d+, where full scale is 1; .* divide") as caught:
        assert sum(map(len, read_blocks(path, RATE, 0.5))) == 5 * RATE
    assert len(caught) == 1


@pytest.mark.parametrize("gain", [-1.0, -0.9])
@pytest.mark.parametrize("channels", [2, 4])
def test_channels_in_opposite_phases_are_warned_about(tmp_path: Path, gain: float, channels: int) -> None:
    one = noise()
    path = float_wav(tmp_path / "a.wav", np.stack([one, gain * one] * (channels // 2), axis=1))
    with pytest.warns(AudioWarning, match=rf"a\.wav: the {channels} channels are in opposite phases.*--channel 0"):
        load_audio(path, RATE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_audio(path, RATE, channel=1)) == RATE


@pytest.mark.parametrize(
    "channels",
    [
        [noise(), noise()],
        [noise(), noise(seed=1)],
        [noise(), np.zeros(RATE)],
        [np.zeros(RATE), np.zeros(RATE)],
        [3 * noise(), -noise()],
        [noise(), noise(seed=1), noise(seed=2), noise(seed=3)],
        [20 * noise(), 20 * noise()],
        [1e-6 * noise(), -1e-6 * noise()],
    ],
)
def test_ordinary_recordings_are_read_without_a_warning(tmp_path: Path, channels: list[np.ndarray]) -> None:
    path = float_wav(tmp_path / "a.wav", np.stack(channels, axis=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_audio(path, RATE)) == RATE


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3", "aiff"])
def test_what_can_be_read_of_a_recording_that_breaks_off_is_read_if_that_is_wanted(tmp_path: Path, suffix: str) -> None:
    kind, subtype = {
        "wav": ("WAV", "PCM_16"),
        "flac": ("FLAC", "PCM_16"),
        "ogg": ("OGG", "VORBIS"),
        "opus": ("OGG", "OPUS"),
        "mp3": ("MP3", "MPEG_LAYER_III"),
        "aiff": ("AIFF", "PCM_16"),
    }[suffix]
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(10 * RATE), RATE, format=kind, subtype=subtype)
    whole = load_audio(path)
    faults: list[AudioError] = []
    np.testing.assert_array_equal(load_audio(path, partial=faults.append), whole)
    assert faults == []
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 42 // 100])
    with pytest.raises(AudioError):
        load_audio(path)
    part = load_audio(path, partial=faults.append)
    assert 2.5 * RATE < len(part) < 4.5 * RATE
    np.testing.assert_allclose(part[: len(part) - 3000], whole[: len(part) - 3000], atol=1e-4)
    assert [type(fault) for fault in faults] == [TruncatedAudioError]
    assert str(path) in str(faults[0])
    assert sum(map(len, read_blocks(path, RATE, 0.3, partial=faults.append))) == len(part)
    assert len(faults) == 2


def test_a_sample_that_is_no_sound_ends_a_partial_recording(tmp_path: Path) -> None:
    samples = noise(40 * RATE)
    samples[39 * RATE] = 1e20
    faults: list[AudioError] = []
    part = load_audio(float_wav(tmp_path / "a.wav", samples), partial=faults.append)
    assert 20 * RATE < len(part) < 39 * RATE
    assert "sample 624000" in str(faults[0])


def test_nothing_that_can_be_read_is_an_error_even_if_a_part_would_do(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no sound at all")
    with pytest.raises(AudioError):
        load_audio(tmp_path / "a.wav", partial=lambda fault: None)
