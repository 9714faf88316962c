"""Silero's network beside the ONNX model that its authors publish, and what is said where its weights are missing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from asr.audio.io import load_audio
from asr.audio.vad import VADS, SileroVadConfig
from asr.audio.vad.silero import WEIGHTS
from asr.errors import ConfigError


def published(samples: np.ndarray) -> np.ndarray:
    """What silero_vad.onnx says, called window by window as its authors do."""
    spec = importlib.util.find_spec("silero_vad")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "data" / "silero_vad.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    samples = np.pad(samples, (64, -len(samples) % 512))
    state = np.zeros((2, 1, 128), dtype=np.float32)
    found = []
    for start in range(0, len(samples) - 64, 512):
        window = samples[None, start : start + 576]
        probability, state = session.run(None, {"input": window, "state": state, "sr": np.array(16000)})
        found.append(probability.item())
    return np.array(found)


def ours(samples: np.ndarray) -> np.ndarray:
    stream = VADS.part("silero")(SileroVadConfig(), 16000).stream()
    return np.concatenate((stream.push(samples), stream.finish()))


@pytest.mark.parametrize("recording", ["longform/sonnet_p001.mp3", "an4/wav/an4_clstk/fjam/cen7-fjam-b.sph"])
def test_probabilities_are_those_of_the_published_model(corpora: Path, recording: str) -> None:
    samples = load_audio(corpora / recording)[: 20 * 16000]
    probabilities = ours(samples)
    assert (probabilities > 0.9).mean() > 0.3
    np.testing.assert_allclose(probabilities, published(samples), rtol=0, atol=1e-5)


def test_noise_gets_the_probabilities_of_the_published_model() -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 16000 * 3 + 77).astype(np.float32)
    np.testing.assert_allclose(ours(samples), published(samples), rtol=0, atol=1e-5)


def at_level(samples: np.ndarray, db: float) -> np.ndarray:
    return (samples * 10 ** (db / 20)).astype(np.float32)


def test_a_quiet_recording_gets_the_probabilities_of_one_of_the_usual_level(corpora: Path) -> None:
    samples = load_audio(corpora / "an4/wav/an4_clstk/fjam/cen7-fjam-b.sph")
    frames = np.pad(samples, (0, -len(samples) % 512)).reshape(-1, 512).astype(np.float64)
    loudest = np.lib.stride_tricks.sliding_window_view(frames.var(axis=1), 6).mean(axis=1).max()
    usual = at_level(samples, -40.0 - 10 * np.log10(loudest))
    assert (ours(usual) > 0.9).mean() > 0.3
    for db in (-10.0, -25.0, -40.0):
        np.testing.assert_allclose(ours(at_level(usual, db)), published(usual), rtol=0, atol=2e-3)
    assert (published(at_level(usual, -25.0)) > 0.9).mean() < 0.1


def test_a_quiet_beginning_is_heard_no_louder_than_what_follows_within_five_seconds(corpora: Path) -> None:
    samples = load_audio(corpora / "an4/wav/an4_clstk/fjam/cen7-fjam-b.sph")
    noise = np.random.default_rng(0).normal(0, 1e-4, 16000 * 4).astype(np.float32)
    both = np.concatenate((noise, samples))
    np.testing.assert_allclose(ours(both), published(both), rtol=0, atol=1e-5)


def test_what_is_quiet_to_the_end_waits_no_longer_than_five_seconds() -> None:
    samples = at_level(np.random.default_rng(0).normal(0, 1, 16000 * 8), -70)
    stream = VADS.part("silero")(SileroVadConfig(), 16000).stream()
    ready = [len(stream.push(block)) for block in np.array_split(samples, 8 * 10)]
    assert sum(ready[:49]) == 0
    assert sum(ready[:51]) == 51 * 1600 // 512
    assert sum(ready) + len(stream.finish()) == 8 * 16000 // 512


def test_the_package_with_the_weights_is_not_imported() -> None:
    ours(np.zeros(512, dtype=np.float32))
    assert "silero_vad" not in sys.modules


def build_with_package_at(folder: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = None if folder is None else SimpleNamespace(submodule_search_locations=[str(folder)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    VADS.part("silero")(SileroVadConfig(), 16000)


@pytest.mark.parametrize("installed", [False, True])
def test_missing_weights_are_told_in_one_line(installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"'silero' lacks its weights; pip install silero-vad.*'energy'"):
        build_with_package_at(tmp_path if installed else None, monkeypatch)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x3a\x00", b"\xff" * 40])
def test_damaged_weights_are_told_in_one_line(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / WEIGHTS
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"op15\.onnx: not the weights of Silero VAD that this version knows"):
        build_with_package_at(tmp_path, monkeypatch)
