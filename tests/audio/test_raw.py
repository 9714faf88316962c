"""Samples without a header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr.audio.io import audio_info, load_audio, read_blocks
from asr.audio.raw import ENCODINGS, MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, RawFormat, parse_raw_format
from asr.errors import AudioError, ConfigError

# What numpy alone makes of some encodings: type and value of full scale.
DTYPES = {
    "s8": ("i1", 128),
    "s16le": ("<i2", 32768),
    "s16be": (">i2", 32768),
    "s32be": (">i4", 2**31),
    "f32le": ("<f4", 1),
}


def stereo(rate: int = 8000) -> np.ndarray:
    """(num_samples, 2), a second of 300 and 400 Hz."""
    time = np.arange(rate) / rate
    return np.stack([0.3 * np.sin(2 * np.pi * 300 * time), 0.3 * np.sin(2 * np.pi * 400 * time)], axis=1)


@pytest.mark.parametrize("encoding", DTYPES)
def test_samples_are_what_numpy_makes_of_the_bytes(tmp_path: Path, encoding: str) -> None:
    dtype, scale = DTYPES[encoding]
    samples = (stereo() * (scale - 1)).astype(dtype)
    path = tmp_path / "a.raw"
    path.write_bytes(samples.tobytes())
    raw = RawFormat(8000, 2, encoding)
    assert audio_info(path, raw).num_samples == 8000
    expected = samples.astype(np.float32) / scale
    np.testing.assert_allclose(load_audio(path, 8000, channel=1, raw=raw), expected[:, 1], atol=1e-7)
    np.testing.assert_allclose(load_audio(path, 8000, raw=raw), expected.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_is_read_in_part_and_in_blocks(tmp_path: Path, encoding: str) -> None:
    subtype, endian, _ = ENCODINGS[encoding]
    path = tmp_path / "a.pcm"
    soundfile.write(path, stereo(), 8000, format="RAW", subtype=subtype, endian=endian)
    blocks = read_blocks(path, 8000, 0.1, channel=0, start=0.25, duration=0.5, raw=RawFormat(8000, 2, encoding))
    np.testing.assert_allclose(np.concatenate(list(blocks)), stereo()[2000:6000, 0], atol=0.02)


def test_bytes_that_are_no_whole_samples_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(1001))
    with pytest.raises(AudioError, match=r"a\.raw: 1001 bytes are no whole number of samples of 4 bytes \(2 x s16le\)"):
        load_audio(path, raw=RawFormat(8000, 2))


def test_a_raw_file_without_its_format_says_what_to_tell(tmp_path: Path) -> None:
    path = tmp_path / "a.RAW"
    path.write_bytes(bytes(1000))
    with pytest.raises(AudioError, match=r"a\.RAW: \.raw files have no header; .* --raw 8000:1:s16le"):
        audio_info(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8000", RawFormat(8000)),
        ("16000:2", RawFormat(16000, 2)),
        ("8000:1:ulaw", RawFormat(8000, 1, "ulaw")),
    ],
)
def test_a_raw_format_is_parsed(text: str, expected: RawFormat) -> None:
    assert parse_raw_format(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is no raw format; write RATE"),
        ("8k", "'8k' is no raw format"),
        ("8000:1:s16le:x", "is no raw format"),
        ("-8000", "is no raw format"),
        ("²000", "is no raw format"),
        ("0", "sample rate 0 is impossible"),
        ("8000:0", "0 raw channels are impossible"),
        ("8000:1:s16", "unknown raw encoding 's16'; did you mean 's16"),
    ],
)
def test_what_is_no_raw_format_is_told(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_raw_format(text)


@given(st.text(max_size=30))
def test_any_text_is_a_raw_format_or_an_error_of_one_line(text: str) -> None:
    try:
        raw = parse_raw_format(text)
    except ConfigError:
        return
    assert MIN_SAMPLE_RATE <= raw.sample_rate <= MAX_SAMPLE_RATE
    assert 0 < raw.channels <= MAX_CHANNELS


@given(st.integers(MIN_SAMPLE_RATE, MAX_SAMPLE_RATE), st.integers(1, MAX_CHANNELS), st.sampled_from(sorted(ENCODINGS)))
def test_what_is_written_out_is_parsed_back(rate: int, channels: int, encoding: str) -> None:
    assert parse_raw_format(f"{rate}:{channels}:{encoding}") == RawFormat(rate, channels, encoding)
