"""The length of an mp3, whatever its header says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio.io import audio_info, load_audio, read_blocks
from asr.audio.mpeg import Mp3Length
from asr.audio.mpeg import count_frames as count_frames_of
from asr.audio.structure import Head
from asr.errors import AudioError

ID3 = (
    b"ID3\x04\x00\x00\x00\x00\x01\x00" + b"\xff\xfb" * 64
)  # a tag of 128 bytes that look like the beginning of a frame


def count_frames(path: Path) -> Mp3Length | None:
    return count_frames_of(path, Head.read(path))


def noise(num_samples: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, num_samples)


def mp3(path: Path, samples: np.ndarray, rate: int = 44100, **options: str) -> bytes:
    soundfile.write(path, samples, rate, format="MP3", **options)
    return path.read_bytes()


def first_frame(path: Path) -> int:
    """Where the second frame of a file begins: behind the one with the length."""
    length = count_frames(path)
    assert length is not None
    assert length.tag is not None
    return len(length.first)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000])
def test_as_many_frames_are_counted_as_the_encoder_says(tmp_path: Path, rate: int, channels: int) -> None:
    mp3(tmp_path / "a.mp3", noise(2 * rate * channels).reshape(-1, channels), rate)
    length = count_frames(tmp_path / "a.mp3")
    assert length is not None
    assert length.num_frames == length.announced
    assert audio_info(tmp_path / "a.mp3").num_samples == 2 * rate


@pytest.mark.parametrize("loud", [slice(0, 60000), slice(60000, None)])
def test_an_mp3_without_a_length_is_read_whole_whether_the_guess_is_too_short_or_too_long(
    tmp_path: Path, loud: slice
) -> None:
    samples = np.zeros(441000)
    samples[loud] = noise(441000)[loud]  # the bit rate of the first frame is far from that of most
    path = tmp_path / "a.mp3"
    data = mp3(path, samples, bitrate_mode="VARIABLE")
    path.write_bytes(ID3 + data[first_frame(path) :])
    assert audio_info(path).num_samples == pytest.approx(441000, abs=3000)
    assert len(load_audio(path, 44100)) == pytest.approx(441000, abs=3000)


def test_joined_mp3_files_are_read_to_the_end_of_the_last(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    data = mp3(path, noise(88200))
    path.write_bytes(data + ID3 + data)
    waveform = load_audio(path, 44100)
    assert len(waveform) == pytest.approx(176400, abs=3000)
    assert np.abs(waveform[-20000:]).max() > 0.1
    assert sum(map(len, read_blocks(path, 44100, 0.7))) == len(waveform)


def test_a_length_that_counts_its_own_frame_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    data = bytearray(mp3(path, noise(88200)))
    length = count_frames(path)
    assert length is not None
    at = data.index(b"Info" if length.tag == "Info" else b"Xing") + 8
    data[at : at + 4] = (length.num_frames + 1).to_bytes(4, "big")
    path.write_bytes(data)
    assert len(load_audio(path, 44100)) == pytest.approx(88200, abs=1200)


@pytest.mark.parametrize("damage", ["cut out", "overwritten"])
def test_damage_in_the_middle_is_told_at_once(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.mp3"
    data = mp3(path, noise(441000))
    middle = len(data) // 2
    path.write_bytes(data[:middle] + (b"" if damage == "cut out" else bytes(3000)) + data[middle + 3000 :])
    with pytest.raises(AudioError, match=r"a\.mp3: the file holds \d+ of \d+ mp3 frames; it is truncated or damaged"):
        audio_info(path)


@pytest.mark.parametrize("seed", range(5))
def test_garbage_is_no_mp3_and_prints_nothing(tmp_path: Path, seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"\xff\xfb\x90\xc4" * (seed % 2) + np.random.default_rng(seed).bytes(100_000))
    assert count_frames(path) is None
    with pytest.raises(AudioError, match=r"a\.mp3: cannot be read as audio \(Format not recognised\)"):
        load_audio(path)
    assert capfd.readouterr() == ("", "")


def test_a_wav_file_named_mp3_is_read_all_the_same(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(8000), 16000)
    (tmp_path / "a.wav").rename(tmp_path / "a.mp3")
    assert len(load_audio(tmp_path / "a.mp3")) == 8000


def test_real_mp3_files_have_the_frames_they_announce(corpora: Path) -> None:
    paths = sorted((corpora / "longform").glob("*.mp3"))
    assert paths
    for path in paths:
        length = count_frames(path)
        assert length is not None
        assert length.num_frames == length.announced
        assert len(load_audio(path, audio_info(path).sample_rate)) == audio_info(path).num_samples


@pytest.mark.parametrize(
    "padding",
    [
        b"\0" * 100_000,
        b"APETAGEX\xd0\x07\0\0" + (90_000).to_bytes(4, "little") + bytes(7) + b"\xa0" + bytes(8) + b"\x7f" * 90_000,
    ],
)
@pytest.mark.parametrize("seconds", [0.3, 2.0])
@pytest.mark.parametrize("where", ["before", "behind", "both"])
def test_padding_and_tags_longer_than_the_sound_do_not_hide_an_mp3(
    tmp_path: Path, padding: bytes, seconds: float, where: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mp3"
    num_samples = round(44100 * seconds)
    data = mp3(path, noise(num_samples))
    expected = load_audio(path, 44100)
    path.write_bytes(padding * (where != "behind") + data + padding * (where != "before"))
    assert audio_info(path).num_samples == num_samples
    np.testing.assert_allclose(load_audio(path, 44100), expected, atol=1e-6)
    assert capfd.readouterr() == ("", "")


def test_a_picture_longer_than_the_sound_does_not_hide_an_mp3(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    data = mp3(path, noise(44100))
    picture = np.random.default_rng(1).bytes(300_000)
    size = bytes(len(picture) >> shift & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x04\0\0" + size + picture + data + b"TAG" + bytes(125))
    assert audio_info(path).num_samples == 44100
    path.write_bytes(data + picture)  # of no known kind, behind frames enough
    assert audio_info(path).num_samples == 44100


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2), (44100, 1)])
@pytest.mark.parametrize("between", [b"", b"ID3\x03" + bytes(5) + b"\x10" + bytes(16)], ids=["bare", "tag"])
def test_joined_mp3_files_of_different_kinds_are_an_error(
    tmp_path: Path, rate: int, channels: int, between: bytes
) -> None:
    parts = []
    for number, (hz, width) in enumerate([(16000, 1), (rate, channels)]):
        path = tmp_path / f"{number}.mp3"
        samples = np.random.default_rng(number).uniform(-0.3, 0.3, (2 * hz, width))
        soundfile.write(path, samples, hz, format="MP3", subtype="MPEG_LAYER_III")
        parts.append(path.read_bytes())
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(between.join(parts))
    with pytest.raises(AudioError, match=f"1 channel of 16000 Hz and {channels} of {rate} Hz; split the file"):
        load_audio(joined)
