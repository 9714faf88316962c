"""Recordings whose headers do not know their length, files that hold several, and segments of long compressed files."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio.io import audio_info, load_audio, read_blocks
from asr.errors import AudioError

RATE = 16000
FORMATS = {
    "opus": ("OGG", "OPUS"),
    "ogg": ("OGG", "VORBIS"),
    "flac": ("FLAC", "PCM_16"),
    "wav": ("WAV", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def chirp(seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    """A tone that rises from 200 Hz, so that every moment is like no other."""
    time = np.arange(round(rate * seconds)) / rate
    return 0.4 * np.sin(2 * np.pi * (200 + 300 * time / seconds) * time)


def encoded(suffix: str, samples: np.ndarray, rate: int = RATE, subtype: str | None = None) -> bytearray:
    kind, usual = FORMATS[suffix]
    file = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(file, "w", rate, channels, format=kind, subtype=subtype or usual) as sound:
        for begin in range(0, len(samples), rate):  # libsndfile crashes where Vorbis is given minutes at once
            sound.write(samples[begin : begin + rate])
    return bytearray(file.getvalue())


def patched(data: bytearray, place: int, layout: str, *values: int) -> bytes:
    copy = bytearray(data)
    struct.pack_into(layout, copy, place, *values)
    return bytes(copy)


@pytest.mark.parametrize("first", FORMATS)
def test_a_recording_of_another_format_behind_the_first_is_never_passed_over(tmp_path: Path, first: str) -> None:
    path = tmp_path / f"a.{first}"
    for second in FORMATS:
        path.write_bytes(encoded(first, chirp()) + encoded(second, chirp(3.0)))
        try:
            heard = len(load_audio(path, RATE)) / RATE
        except AudioError:
            with pytest.raises(AudioError, match=re.escape(str(path))):
                audio_info(path)
        else:
            assert heard == pytest.approx(5.0, abs=0.15), second


@pytest.mark.parametrize("suffix", FORMATS)
def test_two_recordings_joined_by_cat_are_read_one_after_the_other(tmp_path: Path, suffix: str) -> None:
    first, second = chirp(), chirp(1.5)[::-1].copy()
    path = tmp_path / f"a.{suffix}"
    alone = []
    for samples in (first, second):
        path.write_bytes(encoded(suffix, samples))
        alone.append(load_audio(path, RATE))
    whole = np.concatenate(alone)
    path.write_bytes(encoded(suffix, first) + encoded(suffix, second))
    slack = 2500 if suffix == "mp3" else 0
    assert audio_info(path).num_samples == pytest.approx(len(whole), abs=slack)
    waveform = load_audio(path, RATE)
    assert len(waveform) == pytest.approx(len(whole), abs=slack)
    if not slack:
        np.testing.assert_allclose(waveform, whole, atol=1e-6)
        across = load_audio(path, RATE, start=1.9, duration=0.3)
        np.testing.assert_allclose(across, waveform[30400:35200], atol=1e-6)
        np.testing.assert_allclose(load_audio(path, RATE, start=2.5), waveform[40000:], atol=1e-6)
    assert sum(map(len, read_blocks(path, RATE, 0.7))) == len(waveform)


@pytest.mark.parametrize("suffix", ["opus", "ogg", "flac", "wav"])
def test_three_recordings_of_two_channels_are_read_too(tmp_path: Path, suffix: str) -> None:
    samples = np.stack([chirp(0.8), chirp(0.8)[::-1]], axis=1)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(encoded(suffix, samples))
    alone = [load_audio(path, RATE, channel=channel) for channel in (0, 1)]
    path.write_bytes(encoded(suffix, samples) * 3)
    for channel in (0, 1):
        np.testing.assert_allclose(load_audio(path, RATE, channel=channel), np.tile(alone[channel], 3), atol=1e-6)


@pytest.mark.parametrize("suffix", ["ogg", "flac", "wav"])
@pytest.mark.parametrize("other", [(chirp(rate=8000), 8000), (np.stack([chirp()] * 2, axis=1), RATE)])
def test_recordings_of_different_kinds_joined_are_an_error(tmp_path: Path, suffix: str, other: tuple) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(encoded(suffix, chirp()) + encoded(suffix, *other))
    for read in (audio_info, load_audio):
        with pytest.raises(AudioError, match="recordings of different kinds follow each other"):
            read(path)


@pytest.mark.parametrize("suffix", ["opus", "ogg", "flac", "wav", "aiff"])
def test_a_second_recording_that_is_cut_short_is_an_error(tmp_path: Path, suffix: str) -> None:
    data = encoded(suffix, chirp())
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data + data[: len(data) // 2])
    with pytest.raises(AudioError, match=r"a\.\w+: "):
        load_audio(path, RATE)


def unknown_lengths() -> dict[str, bytes]:
    """Files whose headers were never completed, by name."""
    files = {}
    for subtype in ("PCM_16", "FLOAT", "ULAW"):
        wav = encoded("wav", chirp(), subtype=subtype)
        at = wav.index(b"data") + 4
        for riff in (0, 8, 36, 0xFFFFFFFF, len(wav) - 8):
            for size in (0, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF):
                files[f"{subtype} riff {riff} data {size}.wav"] = patched(patched(wav, 4, "<I", riff), at, "<I", size)
    rf64 = encoded("rf64", chirp())
    files |= {f"rf64 {size}.wav": patched(rf64, 20, "<QQQ", size, size, size) for size in (0, 2**63 - 1, 2**64 - 1)}
    aiff = encoded("aiff", chirp())
    form, frames, at = 4, aiff.index(b"COMM") + 10, aiff.index(b"SSND") + 4
    for size in (0, 8, 0xFFFFFFFF):
        files[f"{size}.aiff"] = patched(patched(patched(aiff, form, ">I", size), frames, ">I", 0), at, ">I", size)
    files |= {f"{size}.au": patched(encoded("au", chirp()), 8, ">I", size) for size in (0, 0xFFFFFFFF)}
    w64 = encoded("w64", chirp())
    at = w64.index(b"data") + 16
    for size in (0, 24, 2**63 - 1, 2**64 - 1):
        files[f"{size}.w64"] = patched(patched(w64, 16, "<Q", size), at, "<Q", size)
    caf = encoded("caf", chirp())
    files |= {f"{size}.caf": patched(caf, caf.index(b"data") + 4, ">Q", size) for size in (0, 4, 2**64 - 1)}
    return files


@pytest.mark.parametrize(("name", "data"), unknown_lengths().items(), ids=lambda value: str(value)[:40])
def test_a_header_that_does_not_know_the_length_lets_all_be_read(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert audio_info(path).num_samples == pytest.approx(2 * RATE, abs=20)
    waveform = load_audio(path, RATE)
    np.testing.assert_allclose(waveform[: 2 * RATE], chirp()[: len(waveform)], atol=0.02)
    np.testing.assert_allclose(load_audio(path, RATE, start=1.5, duration=0.2), waveform[24000:27200], atol=1e-6)


@pytest.mark.parametrize("seconds", [1.0, 3.0])
def test_digital_silence_at_the_beginning_of_a_wav_of_unknown_length_is_sound(tmp_path: Path, seconds: float) -> None:
    wav = encoded("wav", np.concatenate((np.zeros(round(seconds * RATE)), chirp())))
    path = tmp_path / "a.wav"
    path.write_bytes(patched(patched(wav, 4, "<I", 0), wav.index(b"data") + 4, "<I", 0))
    assert len(load_audio(path, RATE)) == round((seconds + 2) * RATE)


def test_a_wav_without_samples_before_another_chunk_is_still_empty(tmp_path: Path) -> None:
    wav = encoded("wav", np.zeros(0)) + b"LIST\x0c\0\0\0INFOICMT\0\0\0\0"
    path = tmp_path / "a.wav"
    path.write_bytes(patched(wav, 4, "<I", len(wav) - 8))
    with pytest.raises(AudioError, match="holds no samples"):
        load_audio(path)


def test_a_wav_longer_than_its_sizes_can_say_is_read_to_its_end(tmp_path: Path) -> None:
    wav = encoded("wav", chirp())
    at = wav.index(b"data") + 4
    num_samples = (1 << 31) + 3 * RATE  # sparse: the file takes no room
    path = tmp_path / "a.wav"
    with open(path, "wb") as file:
        file.write(patched(wav, at, "<I", 2 * num_samples % (1 << 32))[: at + 4])
        file.truncate(at + 4 + 2 * num_samples)
        file.seek(at + 4 + 2 * (num_samples - 2 * RATE))
        file.write(wav[at + 4 :])
    assert audio_info(path).num_samples == num_samples
    end = load_audio(path, RATE, start=num_samples / RATE - 2)
    np.testing.assert_allclose(end, chirp(), atol=1e-3)


def test_two_blocks_of_samples_in_one_wav_are_an_error(tmp_path: Path) -> None:
    wav = encoded("wav", chirp())
    wav += wav[wav.index(b"data") :]
    path = tmp_path / "a.wav"
    path.write_bytes(patched(wav, 4, "<I", len(wav) - 8))
    for read in (audio_info, load_audio):
        with pytest.raises(AudioError, match=r"a\.wav: the file holds two blocks of samples"):
            read(path)


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"junk" * 100, b"LIST\x04\0\0\0INFO", b"id3 \x08\0\0\0ID3\4\0\0\0\0"])
def test_what_stands_behind_the_samples_of_a_wav_is_no_sound(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encoded("wav", chirp()) + tail)
    assert len(load_audio(path, RATE)) == 2 * RATE


@pytest.mark.parametrize("suffix", ["opus", "mp3"])
@pytest.mark.parametrize("rate", [16000, 48000])
def test_segments_late_in_a_file_are_the_same_samples_as_in_the_whole(
    tmp_path: Path, suffix: str, rate: int, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    seconds = 100 if rate == RATE else 45
    voiced = np.sin(np.cumsum(np.repeat(rng.uniform(80, 300, seconds * 4), rate // 4)) * 2 * np.pi / rate) ** 15
    samples = 0.3 * voiced + rng.normal(0, 0.01, len(voiced))
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(encoded(suffix, samples, rate))
    whole = load_audio(path, rate)
    for start in (1.0, 9.7, 31.3, 41.0, *((64.123, 96.5) if rate == RATE else ())):
        first = round(start * rate)
        part = load_audio(path, rate, start=start, duration=3.0)
        np.testing.assert_allclose(part, whole[first : first + 3 * rate], atol=1e-6)
    assert len(load_audio(path, rate, start=42.0)) == len(whole) - 42 * rate
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", ["opus", "mp3"])
def test_a_segment_is_found_without_decoding_all_before_it(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(encoded(suffix, np.random.default_rng(0).normal(0, 0.1, RATE * 80)))
    decoded = []
    read = soundfile.SoundFile.read

    def counted(self: soundfile.SoundFile, *arguments: object, **options: object) -> np.ndarray:
        samples: np.ndarray = read(self, *arguments, **options)
        decoded.append(len(samples))
        return samples

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    load_audio(path, RATE, start=75.0, duration=4.0)
    assert sum(decoded) < RATE * 50


@pytest.mark.parametrize("inside", [True, False])
def test_a_tag_of_aiff_is_no_recording_of_another_format(tmp_path: Path, inside: bool) -> None:
    data = encoded("aiff", chirp())
    data += b"ID3 " + struct.pack(">I", 30) + b"ID3\x03" + bytes(26)
    if inside:
        struct.pack_into(">I", data, 4, len(data) - 8)
    (tmp_path / "a.aiff").write_bytes(data)
    assert len(load_audio(tmp_path / "a.aiff", RATE)) == 2 * RATE


@pytest.mark.parametrize("rate", [3, 2_000_000_000])
def test_an_impossible_rate_is_an_error(tmp_path: Path, rate: int) -> None:
    (tmp_path / "a.wav").write_bytes(patched(encoded("wav", chirp()), 24, "<I", rate))
    for read in (load_audio, audio_info):
        with pytest.raises(AudioError, match=f"states {rate} Hz, which is impossible"):
            read(tmp_path / "a.wav")
