"""A model runs on what its bundle says: autocast where asked for, another runtime without anybody noticing."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.audio.io import load_audio
from asr.bundle.backends.torch import TorchBackend
from asr.bundle.bundle import Bundle
from asr.bundle.decode import Decoding
from asr.bundle.recognition import DecodeOptions
from asr.decoding.base import Heads
from asr.types import EncoderOutput


@pytest.fixture(scope="module")
def bundle(tiny_workspace: Path) -> Bundle:
    return Bundle.load(tiny_workspace / "model")


@pytest.fixture(scope="module")
def waveform(tiny_workspace: Path) -> np.ndarray:
    return load_audio(tiny_workspace / "audio" / "3.wav", 16000)


def decode(bundle: Bundle, waveform: np.ndarray) -> tuple[str, float]:
    options = DecodeOptions(Decoding(bundle.spec.search).build(bundle, None))
    (decoded,) = bundle.decode([waveform], [options])
    return decoded.text, decoded.n_best[0].score


def test_torch_in_float32_runs_a_bundle_unless_another_backend_does(bundle: Bundle, waveform: np.ndarray) -> None:
    chosen = replace(bundle, runtime=TorchBackend(bundle.frontend, bundle.model))
    assert decode(chosen, waveform) == decode(bundle, waveform)


def test_another_dtype_is_that_of_autocast(bundle: Bundle, waveform: np.ndarray) -> None:
    half = TorchBackend(bundle.frontend, bundle.model, torch.bfloat16)
    lens = torch.tensor([len(waveform)])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        features, feature_lens = bundle.frontend(torch.from_numpy(waveform)[None], lens)
        expected = bundle.model.encode(features, feature_lens)
    encoded = half.encode(torch.from_numpy(waveform)[None], lens)
    assert torch.equal(encoded.frames, expected.frames)
    full = TorchBackend(bundle.frontend, bundle.model).encode(torch.from_numpy(waveform)[None], lens)
    assert not torch.equal(encoded.frames, full.frames)
    with half.running():
        assert torch.is_autocast_enabled("cpu")
        assert torch.is_inference_mode_enabled()


@dataclass
class Elsewhere:
    """Another runtime: it has heads of its own and makes frames in its own way."""

    inner: TorchBackend
    num_calls: int = 0

    @property
    def heads(self) -> Heads:
        return dict(self.inner.model.heads.items())

    def encode(self, waveforms: torch.Tensor, lens: torch.Tensor) -> EncoderOutput:
        self.num_calls += 1
        with torch.no_grad():
            return self.inner.model.encode(*self.inner.frontend(waveforms, lens))

    def running(self) -> AbstractContextManager[None]:
        return torch.no_grad()


def test_another_runtime_gives_the_same_texts(bundle: Bundle, waveform: np.ndarray) -> None:
    elsewhere = Elsewhere(TorchBackend(bundle.frontend, bundle.model))
    text, score = decode(replace(bundle, runtime=elsewhere), waveform)
    assert elsewhere.num_calls == 1
    assert text == decode(bundle, waveform)[0]
    assert score == pytest.approx(decode(bundle, waveform)[1], abs=1e-4)
