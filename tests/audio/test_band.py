"""Whether a recording holds nothing above 4 kHz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from asr.audio.band import BandWatch
from asr.audio.io import load_audio
from asr.audio.resample import resample


def is_narrow(samples: np.ndarray, rate: int = 16000, block: int = 16000) -> bool:
    watch = BandWatch(rate)
    for start in range(0, len(samples), block):
        watch.look(samples[start : start + block])
    return watch.is_narrow


def noise(seconds: float = 2.0, rate: int = 16000) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.05, round(seconds * rate)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 1600, 16000, 10**6])
def test_what_once_had_8_khz_holds_nothing_above_4(block: int) -> None:
    once = resample(noise(rate=8000), 8000, 16000)
    assert is_narrow(once, block=max(block, 600))
    assert not is_narrow(noise(), block=max(block, 600))


@pytest.mark.parametrize("suffix", ["mp3", "wav"])
def test_a_file_of_8_khz_in_stereo_does(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"call.{suffix}"
    sf.write(path, np.stack([noise(rate=8000)] * 2, axis=1), 8000)
    assert is_narrow(load_audio(path, 16000))


def test_silence_scraps_and_rates_that_hold_no_more_do_not_count() -> None:
    assert not is_narrow(np.zeros(32000, dtype=np.float32))
    assert not is_narrow(resample(noise(0.3, 8000), 8000, 16000))
    assert not is_narrow(noise(rate=8000), rate=8000)
    assert not is_narrow(noise(0.0))


def test_recordings_made_at_16_khz_hold_more(corpora: Path) -> None:
    paths = [
        *sorted(corpora.glob("an4/wav/**/*.sph"))[::100],
        *sorted(corpora.glob("librispeech_pieces/**/*.ogg"))[::50],
    ]
    assert len(paths) > 10
    assert not any(is_narrow(load_audio(path, 16000)) for path in paths)
