"""Audio files of every tested format, whole, in part, in blocks and damaged."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tracemalloc
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


def test_sphere_of_telephone_speech_is_read(tmp_path):
    codes = np.arange(256, dtype=np.uint8).repeat(2).reshape(-1, 2)
    soundfile.write(tmp_path / "a.au", np.zeros((256, 2)), 8000, format="AU", subtype="ULAW")
    au = (tmp_path / "a.au").read_bytes()[: -codes.size] + codes.tobytes()
    (tmp_path / "a.au").write_bytes(au)
    header = (
        "NIST_1A\n   1024\nsample_count -i 256\nsample_rate -i 8000\nchannel_count -i 2\n"
        "sample_n_bytes -i 1\nsample_coding -s4 ulaw\nend_head\n"
    )
    (tmp_path / "a.sph").write_bytes(header.encode().ljust(1024) + codes.tobytes())
    expected, _ = soundfile.read(tmp_path / "a.au", dtype="float32")
    np.testing.assert_array_equal(load_audio(tmp_path / "a.sph", 8000, channel=0), expected[:, 0])
    assert np.ptp(expected) > 1.5


def test_speech_of_an4_is_read(corpora):
    path = sorted((corpora / "an4").rglob("*.sph"))[0]
    raw = np.frombuffer(
        path.read_bytes()[1024:], dtype="<i2" if b"sample_byte_format -s2 01" in path.read_bytes() else ">i2"
    )
    np.testing.assert_array_equal(load_audio(path), raw.astype(np.float32) / 32768)


@pytest.mark.parametrize("files", ["an4/**/*.sph", "ljspeech_tail/**/*.opus", "longform/*.mp3", "esc10/**/*.ogg"])
def test_real_recordings_are_read_in_blocks_as_soundfile_reads_them_whole(corpora, files):
    path = sorted(corpora.glob(files))[3]
    expected, rate = soundfile.read(path, dtype="float32", always_2d=True)
    waveform = np.concatenate(list(read_blocks(path, rate, 1.0)))
    np.testing.assert_allclose(waveform, expected.mean(axis=1), atol=1e-6)
    assert len(waveform) == audio_info(path).num_samples


def test_what_is_no_audio_file_is_named(tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("these are words")
    empty = tmp_path / "empty.wav"
    empty.touch()
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    link = tmp_path / "link.wav"
    link.symlink_to("gone.wav")
    circle = tmp_path / "circle.wav"
    circle.symlink_to("circle.wav")
    for path, message in {
        pipe: "is a pipe or a device, not a file",
        link: r"is a link to gone\.wav, which does not exist",
        circle: r"cannot be read \(Too many levels of symbolic links\)",
        text / "a.wav": r"cannot be read \(Not a directory\)",
        tmp_path / f"{'a' * 300}.wav": r"cannot be read \(File name too long\)",
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


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_blocks_of_a_stretch_joined_are_the_stretch(tmp_path, suffix):
    path = written(tmp_path, suffix, seconds=3.0, channels=2)
    part = {"channel": 1, "start": 1.125, "duration": 1.5}
    blocks = list(read_blocks(path, 48000, 0.4, **part))
    assert [len(block) for block in blocks] == [19200, 19200, 19200, 14400]
    np.testing.assert_array_equal(np.concatenate(blocks), load_audio(path, 48000, **part))


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
def test_every_rate_sample_type_and_layout_arrives_right(tmp_path, rate, subtype, channels):
    path = tmp_path / "a.wav"
    soundfile.write(path, tones(rate, 0.8, channels), rate, subtype=subtype)
    error = {"PCM_U8": 2 / 128, "ULAW": 2 / 128, "PCM_16": 1e-4}.get(subtype, 1e-6)
    resampling = 0 if rate == 16000 else 1e-3
    middle = slice(1000, -1000)
    for channel in (0, channels - 1, None):
        expected = tones(16000, 0.8, channels)
        expected = expected.mean(axis=1) if channel is None else expected[:, channel]
        waveform = load_audio(path, 16000, channel=channel)
        assert len(waveform) == 12800
        np.testing.assert_allclose(waveform[middle], expected[middle], atol=error + resampling)


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


def test_a_flac_written_to_a_pipe_without_its_length_is_read_to_its_end(tmp_path):
    path = written(tmp_path, "flac")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the 36 bits of STREAMINFO that count the samples
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert audio_info(path).num_samples == 48000
    np.testing.assert_allclose(load_audio(path, 48000), tones(48000)[:, 0], atol=1e-4)
    assert len(load_audio(path, 48000, start=0.75)) == 12000
    with pytest.raises(AudioError, match=r"starts at 1\.500 s asked for, but ends before"):
        load_audio(path, start=1.5)


def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    path = written(tmp_path, "wav")

    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # the mode of a file does not keep root out
    with pytest.raises(AudioError, match=r"tone\.wav: cannot be read \(Permission denied\)"):
        load_audio(path)


def test_memory_does_not_grow_with_the_length_of_a_file(tmp_path):
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 44100, 1, subtype="PCM_U8") as file:
        for _ in range(10):
            file.write(np.zeros(44100 * 60, dtype=np.float32))
    tracemalloc.start()
    try:
        num_samples = sum(map(len, read_blocks(path, 16000, 10.0)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert num_samples == pytest.approx(16000 * 600, abs=1)
    assert peak < 8e6  # bytes; the waveform would be 38 million


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
