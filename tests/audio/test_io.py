"""Audio files of every tested format, whole, in part, in blocks and damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio.io import audio_info, load_audio, read_blocks, write_wav
from asr.errors import AsrError, AudioError

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
}


def tones(rate: int, seconds: float = 1.0, channels: int = 1) -> np.ndarray:
    """(num_samples, channels): a tone of 300 Hz, one of 400 Hz in the next channel, and so on."""
    time = np.arange(int(rate * seconds)) / rate
    return np.stack([0.3 * np.sin(2 * np.pi * (300 + 100 * c) * time) for c in range(channels)], axis=1)


def written(folder: Path, suffix: str, rate: int = 48000, seconds: float = 1.0, channels: int = 1) -> Path:
    path = folder / f"tone.{suffix}"
    kind, subtype = FORMATS[suffix]
    soundfile.write(path, tones(rate, seconds, channels), rate, format=kind, subtype=subtype)
    return path


def sphere(path: Path, samples: np.ndarray, promised: int | None = None) -> Path:
    """Write a NIST SPHERE file by hand, its header promising `promised` samples."""
    header = (
        f"NIST_1A\n   1024\nsample_count -i {promised or len(samples)}\nsample_rate -i 16000\nchannel_count -i 1\n"
        "sample_n_bytes -i 2\nsample_byte_format -s2 01\nsample_coding -s3 pcm\nend_head\n"
    )
    path.write_bytes(header.encode().ljust(1024) + samples.astype("<i2").tobytes())
    return path


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_arrives_at_the_rate_asked_for(tmp_path, suffix):
    path = written(tmp_path, suffix)
    info = audio_info(path)
    assert (info.sample_rate, info.num_channels, info.duration) == (48000, 1, 1.0)
    waveform = load_audio(path, 16000)
    assert waveform.dtype == np.float32
    assert waveform.shape == (16000,)
    middle = slice(1000, -1000)
    error = waveform[middle] - tones(16000)[middle, 0]
    assert np.abs(error).max() < (1e-3 if suffix in ("wav", "flac", "aiff") else 0.05)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_stretch_is_the_same_samples_as_in_the_whole(tmp_path, suffix):
    path = written(tmp_path, suffix, seconds=6.0)
    whole = load_audio(path, 48000)
    part = load_audio(path, 48000, start=4.25, duration=0.5)
    np.testing.assert_allclose(part, whole[204000:228000], atol=1e-6)


@pytest.mark.parametrize("suffix", ["wav", "opus", "mp3"])
@pytest.mark.parametrize("rate", [48000, 16000])
def test_blocks_joined_are_what_load_audio_gives(tmp_path, suffix, rate):
    path = written(tmp_path, suffix, seconds=2.35)
    blocks = list(read_blocks(path, rate, 0.3))
    assert {len(block) for block in blocks[:-1]} == {round(0.3 * rate)}
    assert 0 < len(blocks[-1]) <= round(0.3 * rate)
    np.testing.assert_allclose(np.concatenate(blocks), load_audio(path, rate), atol=1e-4)


def test_channels_are_averaged_or_picked(tmp_path):
    path = written(tmp_path, "flac", rate=16000, channels=3)
    expected = tones(16000, channels=3)
    np.testing.assert_allclose(load_audio(path), expected.mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(load_audio(path, channel=2), expected[:, 2], atol=1e-4)
    np.testing.assert_allclose(np.concatenate(list(read_blocks(path, channel=1))), expected[:, 1], atol=1e-4)
    with pytest.raises(AudioError, match="no channel 3; channels 0 to 2 exist"):
        load_audio(path, channel=3)


def test_sphere_files_are_read(tmp_path):
    samples = (tones(16000)[:, 0] * 32767).round()
    waveform = load_audio(sphere(tmp_path / "a.sph", samples))
    np.testing.assert_allclose(waveform, samples / 32768, atol=1e-7)


def test_speech_of_an4_is_read(corpora):
    path = sorted((corpora / "an4").rglob("*.sph"))[0]
    raw = np.frombuffer(
        path.read_bytes()[1024:], dtype="<i2" if b"sample_byte_format -s2 01" in path.read_bytes() else ">i2"
    )
    np.testing.assert_array_equal(load_audio(path), raw.astype(np.float32) / 32768)


def test_what_is_no_audio_file_is_named(tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("these are words")
    empty = tmp_path / "empty.wav"
    empty.touch()
    for path, message in {
        tmp_path / "nothing.wav": "there is no such file",
        tmp_path: "is a directory",
        text: "cannot be read as audio",
        empty: r"the file is empty \(0 bytes\)",
    }.items():
        for read in (audio_info, load_audio, lambda path: list(read_blocks(path))):
            with pytest.raises(AudioError, match=message) as caught:
                read(path)
            assert str(caught.value).startswith(str(path))
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("missing", [0.5, 0.001])
def test_a_truncated_file_is_an_error_of_one_line(tmp_path, suffix, missing):
    path = written(tmp_path, suffix)
    data = path.read_bytes()
    path.write_bytes(data[: -max(64, int(len(data) * missing))])
    for read in (load_audio, lambda path: list(read_blocks(path, 16000, 0.1))):
        with pytest.raises(AudioError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_a_truncated_sphere_file_says_how_much_is_there(tmp_path):
    path = sphere(tmp_path / "a.sph", np.zeros(500), promised=800)
    with pytest.raises(AudioError, match="ends after 500 of 800 samples"):
        audio_info(path)


def test_a_wav_written_to_a_pipe_with_unknown_size_is_read(tmp_path):
    path = written(tmp_path, "wav")
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(load_audio(path, 48000)) == 48000


def test_an_mp3_without_a_length_header_is_read_to_its_end(tmp_path):
    path = tmp_path / "vbr.mp3"
    samples = np.random.default_rng(0).normal(0, 0.1, 441000)
    samples[:200000] = 0  # the first frames' low bit rate leads to a wrong guess of the length
    soundfile.write(path, samples, 44100, format="MP3", bitrate_mode="VARIABLE")
    data = path.read_bytes()
    path.write_bytes(data[data.index(b"\xff\xfb", 4) :])  # without the frame that tells the length
    assert len(load_audio(path, 44100)) == pytest.approx(441000, abs=3000)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_impossible_samples_are_refused(tmp_path, value):
    samples = tones(16000)
    samples[777] = value
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN or infinite"):
        load_audio(path)
    assert len(load_audio(path, start=0.5)) == 8000
    with pytest.raises(AudioError, match="NaN or infinite"):
        write_wav(tmp_path / "b.wav", samples[:, 0], 16000)


def test_a_file_without_samples_is_refused(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(0), 16000)
    with pytest.raises(AudioError, match="holds no samples"):
        load_audio(path)


def test_a_start_beyond_the_end_is_refused_and_an_end_beyond_is_cut(tmp_path):
    path = written(tmp_path, "wav")
    with pytest.raises(AudioError, match=r"starts at 1\.500 s asked for, but ends at 1\.000 s"):
        load_audio(path, start=1.5)
    with pytest.raises(AudioError, match="start is at least 0"):
        load_audio(path, start=-1.0)
    assert len(load_audio(path, 16000, start=0.75, duration=9.0)) == 4000


def test_a_written_wav_comes_back_clipped_to_full_scale(tmp_path):
    waveform = np.array([0.0, 0.5, -0.25, 1.7, -1.7], dtype=np.float32)
    write_wav(tmp_path / "new" / "a.wav", waveform, 8000)
    np.testing.assert_allclose(load_audio(tmp_path / "new" / "a.wav", 8000), waveform.clip(-1, 1), atol=1e-4)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.wav"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_wav(tmp_path / "a.wav", np.ones(10, dtype=np.float32), 8000)
    with pytest.raises((AsrError, TypeError, ValueError)):
        write_wav(tmp_path / "a.wav", np.zeros((2, 2, 2), dtype=np.float32), 8000)
    assert len(load_audio(tmp_path / "a.wav", 8000)) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_reading_audio_does_not_need_torch():
    code = "import sys, asr.audio.io, asr.audio.augment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
