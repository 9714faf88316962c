"""What every registered voice activity detector promises, checked on its tiny() config."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from asr.audio.io import load_audio
from asr.audio.resample import resample
from asr.audio.vad import VADS, Vad, VadConfig, VadStream
from asr.errors import AudioError, ConfigError
from tests.conftest import melody

RATES = (8000, 11025, 16000, 44100, 48000)
ROUNDING = 2e-6  # of float32 sums in another order, where the number of frames scored together differs

every_vad = pytest.mark.parametrize("name", VADS.names())
every_rate = pytest.mark.parametrize("rate", RATES)


@functools.cache
def tiny(name: str, rate: int = 16000) -> Vad:
    return VADS.part(name)(VADS.config(name).tiny(), rate)


def run(stream: VadStream, blocks: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([*(stream.push(block) for block in blocks), stream.finish()])


def blocks_of(samples: np.ndarray, size: int) -> list[np.ndarray]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


@pytest.fixture(scope="module")
def speech(corpora: Path) -> np.ndarray:
    """One utterance of AN4 with its room before and after, 2.4 s."""
    return load_audio(corpora / "an4" / "wav" / "an4_clstk" / "fjam" / "cen7-fjam-b.sph")


def test_the_promised_detectors_are_registered() -> None:
    assert {"energy", "silero"} <= set(VADS.names())


@every_vad
@every_rate
def test_probabilities_do_not_depend_on_the_blocks(name: str, rate: int) -> None:
    samples = melody(1, 10.5, rate)
    whole = run(tiny(name, rate).stream(), [samples])
    assert whole.dtype == np.float32
    assert np.ptp(whole) > 0.001
    for size in (511, 512, 10 * rate):
        blocks = run(tiny(name, rate).stream(), blocks_of(samples, size))
        np.testing.assert_allclose(blocks, whole, rtol=0, atol=ROUNDING)


@every_vad
def test_probabilities_of_a_recording_that_begins_quietly_do_not_depend_on_the_blocks(name: str) -> None:
    """Whatever a detector makes of its level."""
    loudness = np.repeat([1e-3, 1e-2, 3e-3, 0.3, 1e-3], 16000 * 3)
    samples = (melody(7, 15.0) * loudness).astype(np.float32)
    whole = run(tiny(name).stream(), [samples])
    for size in (511, 16000, 16000 * 6 + 1):
        np.testing.assert_allclose(run(tiny(name).stream(), blocks_of(samples, size)), whole, rtol=0, atol=1e-5)


@every_vad
@every_rate
def test_samples_may_come_one_by_one(name: str, rate: int) -> None:
    samples = melody(2, 0.3, rate)
    alone = run(tiny(name, rate).stream(), blocks_of(samples, 1))
    np.testing.assert_allclose(alone, run(tiny(name, rate).stream(), [samples]), rtol=0, atol=ROUNDING)


@every_vad
@given(cuts=st.lists(st.integers(0, 40_000), max_size=8), rate=st.sampled_from(RATES))
@settings(max_examples=15, deadline=None)
def test_any_blocks_will_do_empty_ones_among_them(name: str, cuts: list[int], rate: int) -> None:
    samples = melody(3, 40_000 / rate, rate)
    divided = run(tiny(name, rate).stream(), np.split(samples, sorted(cuts)))
    np.testing.assert_allclose(divided, run(tiny(name, rate).stream(), [samples]), rtol=0, atol=ROUNDING)


@every_vad
@every_rate
def test_there_is_a_frame_for_every_begun_frame_of_audio(name: str, rate: int) -> None:
    vad = tiny(name, rate)
    frame = vad.frame_seconds * rate
    assert 0 < vad.frame_seconds <= 0.032
    for length in (1, 2, int(frame), int(frame) + 1, int(5 * frame), int(5 * frame) + 1, 12_345, 10 * rate):
        probabilities = run(vad.stream(), [melody(4, length / rate, rate)[:length]])
        assert len(probabilities) == int(np.ceil(length / frame)), length
        assert ((probabilities >= 0) & (probabilities <= 1)).all()


@every_vad
def test_no_samples_make_no_frames(name: str) -> None:
    assert run(tiny(name).stream(), []).shape == (0,)
    assert run(tiny(name, 44100).stream(), [np.zeros(0, dtype=np.float32)]).shape == (0,)


@every_vad
def test_a_padded_last_frame_scores_like_one_that_ends_in_zeros(name: str) -> None:
    samples = melody(5, 2.0)[:-100]
    padded = np.pad(samples, (0, -len(samples) % 512))
    padded_run = run(tiny(name).stream(), [padded])
    np.testing.assert_allclose(run(tiny(name).stream(), [samples]), padded_run, rtol=0, atol=ROUNDING)


@every_vad
def test_digital_silence_is_no_speech(name: str) -> None:
    assert run(tiny(name).stream(), [np.zeros(16000 * 20, dtype=np.float32)]).max() < 0.05


@every_vad
def test_streams_that_take_turns_do_not_disturb_each_other(name: str) -> None:
    recordings = [melody(6, 3.0), melody(7, 3.0)]
    streams = [tiny(name).stream() for _ in recordings]
    found: list[list[np.ndarray]] = [[], []]
    for blocks in zip(*(blocks_of(recording, 3000) for recording in recordings), strict=True):
        for stream, block, probabilities in zip(streams, blocks, found, strict=True):
            probabilities.append(stream.push(block))
    for stream, recording, probabilities in zip(streams, recordings, found, strict=True):
        alone = run(tiny(name).stream(), blocks_of(recording, 3000))
        np.testing.assert_array_equal(np.concatenate([*probabilities, stream.finish()]), alone)


@every_vad
def test_streams_may_run_in_threads(name: str) -> None:
    recordings = [melody(seed, 4.0) for seed in range(8)]

    def whole(recording: np.ndarray) -> np.ndarray:
        return run(tiny(name).stream(), blocks_of(recording, 1600))

    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(whole, recordings))
    for recording, probabilities in zip(recordings, threaded, strict=True):
        np.testing.assert_array_equal(probabilities, whole(recording))


@every_vad
def test_the_caller_s_torch_settings_and_draws_do_not_matter(name: str) -> None:
    samples = melody(8, 2.0)
    plain = run(tiny(name).stream(), [samples])
    before = torch.random.get_rng_state(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            strange = run(VADS.part(name)(VADS.config(name).tiny(), 16000).stream(), [samples])
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(strange, plain)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]


@every_vad
@pytest.mark.parametrize("rate", [7999, 48001])
def test_a_rate_out_of_range_is_refused(name: str, rate: int) -> None:
    with pytest.raises(AudioError, match=f"not {rate} Hz"):
        tiny(name, rate)


@every_vad
def test_a_config_survives_json_and_a_wrong_key_is_refused(name: str) -> None:
    config = VADS.config(name).tiny()
    assert TypeAdapter(VadConfig).validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="wizardry"):
        TypeAdapter(VadConfig).validate_python({"name": name, "wizardry": 1})


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown voice activity detector 'silera'; did you mean 'silero'"):
        VADS.part("silera")


@every_vad
@every_rate
def test_speech_is_found_where_it_is_at_every_rate(name: str, rate: int, speech: np.ndarray) -> None:
    quiet = np.zeros(16000 * 2, dtype=np.float32)
    samples = np.concatenate((quiet, speech, quiet))
    found = run(tiny(name, rate).stream(), [resample(samples, 16000, rate)]) > 0.5
    frame = tiny(name).frame_seconds
    level = np.sqrt(np.convolve(speech**2, np.ones(512) / 512, "same"))
    loud = np.unique(((np.flatnonzero(level > 0.2 * level.max()) / 16000 + 2.0) / frame).astype(int))
    assert found[loud].mean() > 0.9
    assert not found[: int(2.0 / frame) - 1].any()
    assert not found[-int(2.0 / frame) + 1 :].any()
