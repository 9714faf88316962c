"""Good recordings, damaged in every way that files get damaged: the right samples come back, or a named error."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.audio.io import audio_info, load_audio, read_blocks
from asr.errors import AudioError

RATE = 16000
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "ulaw.wav": ("WAV", "ULAW"),
}


@functools.cache
def good(suffix: str, channels: int = 1) -> bytes:
    """A second and a half of a rising tone with noise."""
    time = np.arange(3 * RATE // 2) / RATE
    noise = np.random.default_rng(0).normal(0, 0.01, len(time))
    one = 0.4 * np.sin(2 * np.pi * (200 + 300 * time) * time) + noise
    file = io.BytesIO()
    kind, subtype = FORMATS[suffix]
    soundfile.write(file, np.stack([one] * channels, axis=1), RATE, format=kind, subtype=subtype)
    return file.getvalue()


@functools.cache
def samples_of(suffix: str) -> np.ndarray:
    data, _ = soundfile.read(io.BytesIO(good(suffix)), dtype="float32")
    return np.asarray(data)


def _in_blocks(path: Path) -> np.ndarray:
    return np.concatenate(list(read_blocks(path, RATE, 0.25)))


def _attempt(read: Callable[[Path], np.ndarray], path: Path) -> np.ndarray | AudioError:
    try:
        return read(path)
    except AudioError as error:
        return error


def outcome(path: Path) -> np.ndarray | AudioError:
    """What reading gives; the three ways of reading must agree, and errors be one line that names the file."""
    results = [_attempt(read, path) for read in (load_audio, _in_blocks)]
    whole, blocks = results
    if isinstance(whole, AudioError) or isinstance(blocks, AudioError):
        assert type(whole) is type(blocks)
        assert str(whole).startswith(f"{path}: ")
        assert "\n" not in str(whole)
        return whole
    np.testing.assert_allclose(whole, blocks, atol=2e-4)
    assert np.isfinite(whole).all()
    assert audio_info(path).num_channels > 0
    return whole


@st.composite
def damages(draw: st.DrawFn) -> tuple[str, bytes]:
    """A format, and one of its files with something done to it."""
    suffix = draw(st.sampled_from(sorted(FORMATS)))
    data = good(suffix)
    place = draw(st.one_of(st.integers(0, min(200, len(data))), st.integers(0, len(data))), "place")
    size = draw(st.integers(1, 3000), "size")
    match draw(st.sampled_from(("cut", "flip", "overwrite", "remove", "duplicate", "swap", "insert", "append")), "how"):
        case "cut":
            data = data[:place]
        case "flip":
            changed = bytearray(data)
            changed[min(place, len(data) - 1)] ^= draw(st.integers(1, 255))
            data = bytes(changed)
        case "overwrite":
            data = (
                data[:place] + draw(st.sampled_from((b"\0", b"\xff", b"OggS", b"data"))) * size + data[place + size :]
            )
        case "remove":
            data = data[:place] + data[place + size :]
        case "duplicate":
            data = data[: place + size] + data[place:]
        case "swap":
            data = data[:place] + data[place + size : place + 2 * size] + data[place : place + size]
            data += good(suffix)[place + 2 * size :]
        case "insert":
            data = data[:place] + draw(st.binary(min_size=1, max_size=50)) + data[place:]
        case "append":
            data += draw(st.sampled_from((b"\0" * size, b"TAG" + bytes(125), b"\xff\xfb\x90\xc4" * size, data)))
    return suffix, data


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged=damages(), named=st.sampled_from(["own", *sorted({name.rpartition(".")[2] for name in FORMATS})]))
def test_a_damaged_recording_is_read_or_refused_by_name(tmp_path: Path, damaged: tuple[str, bytes], named: str) -> None:
    suffix, data = damaged
    path = tmp_path / f"a.{suffix if named == 'own' else named}"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome(path)


@pytest.mark.parametrize("suffix", sorted(FORMATS))
@pytest.mark.parametrize("percent", [1, 10, 50, 90, 99])
def test_nothing_is_lost_in_silence_of_a_recording_that_is_cut(tmp_path: Path, suffix: str, percent: int) -> None:
    path = tmp_path / f"a.{suffix}"
    data = good(suffix)
    path.write_bytes(data[: len(data) * percent // 100])
    result = outcome(path)
    if not isinstance(result, AudioError):
        pytest.fail(f"{len(result)} samples are read without an error")


@pytest.mark.parametrize("suffix", sorted(FORMATS))
@pytest.mark.parametrize("name", sorted({name.rpartition(".")[2] for name in FORMATS} | {"xyz", "m4a", "webm"}))
def test_a_recording_under_a_wrong_name_is_read_as_under_its_own(tmp_path: Path, suffix: str, name: str) -> None:
    path = tmp_path / f"a.{name}"
    path.write_bytes(good(suffix))
    result = outcome(path)
    if isinstance(result, AudioError):
        assert name in ("m4a", "webm")
    else:
        np.testing.assert_allclose(result[:20000], samples_of(suffix)[:20000], atol=1e-3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(sorted(FORMATS)),
    tail=st.one_of(
        st.integers(1, 70_000).map(bytes),
        st.binary(min_size=1, max_size=300),
        st.sampled_from(sorted(FORMATS)).map(good),
        st.just(b"TAG" + bytes(125)),
        st.just(b"LIST\x04\0\0\0INFO"),
    ),
)
def test_what_follows_a_recording_takes_nothing_from_it(tmp_path: Path, suffix: str, tail: bytes) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(good(suffix))
    alone = load_audio(path)
    path.write_bytes(good(suffix) + tail)
    result = outcome(path)
    if not isinstance(result, AudioError):
        settled = len(alone) - 2500  # the end of a joined mp3 goes over into the next
        assert len(result) >= (settled if suffix == "mp3" else len(alone))
        np.testing.assert_allclose(result[:settled], alone[:settled], atol=1e-6)
