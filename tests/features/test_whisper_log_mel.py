"""Whisper's log-mel features against the definition, written down frame by frame in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asr.errors import AudioError
from asr.features import build_frontend
from asr.features.whisper_log_mel import WhisperLogMelConfig, slaney_filterbank

RATE = 16000


def log_mel(samples: np.ndarray, seconds: float, num_bins: int) -> np.ndarray:
    """Features (T, num_bins) of samples and the zeros after them up to so many seconds."""
    filters = slaney_filterbank(num_bins, 400, RATE).numpy()
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    padded = np.concatenate([samples, np.zeros(round(seconds * RATE) - len(samples) + 200)])
    padded = np.concatenate([padded[200:0:-1], padded])
    rows = []
    for frame in range(round(seconds * 100)):
        spectrum = np.fft.rfft(padded[160 * frame : 160 * frame + 400] * window)
        rows.append(np.log10(np.maximum(np.abs(spectrum) ** 2 @ filters, 1e-10)))
    features = np.array(rows)
    return (np.maximum(features, features.max() - 8) + 4) / 4


@pytest.mark.parametrize(("length", "seconds"), [(0.3, 5.0), (0.99, 5.0), (3.0, 7.0), (26.5, 30.0), (30.0, 30.0)])
@pytest.mark.parametrize("num_bins", [80, 128])
def test_features_are_those_of_the_definition_over_audio_and_four_seconds_of_silence(num_bins, length, seconds):
    samples = 0.1 * np.random.default_rng(3).standard_normal(round(length * RATE))
    frontend = build_frontend(WhisperLogMelConfig(num_mel_bins=num_bins)).double()
    features = frontend.extract(samples, RATE).numpy()
    assert features.shape == (seconds * 100, num_bins)
    np.testing.assert_allclose(
        features, log_mel(samples, seconds, num_bins), rtol=0, atol=1e-4
    )  # window and filters are float32


def test_filters_are_those_of_librosa():
    librosa = pytest.importorskip("librosa")
    for num_bins in (80, 128):
        expected = librosa.filters.mel(sr=RATE, n_fft=400, n_mels=num_bins, dtype=np.float64)
        np.testing.assert_allclose(slaney_filterbank(num_bins, 400, RATE).numpy().T, expected, rtol=0, atol=1e-12)


def test_a_quiet_utterance_is_measured_by_its_own_loudest_value_beside_a_loud_one():
    frontend = build_frontend(WhisperLogMelConfig()).double()
    noise = torch.randn(2, RATE, dtype=torch.float64) * torch.tensor([[1.0], [0.1]])
    features, _ = frontend(noise, torch.tensor([RATE, RATE]))
    torch.testing.assert_close(features[1], frontend.extract(noise[1], RATE), rtol=1e-9, atol=1e-9)
    assert features[1].amax() < features[0].amax() - 0.4
    assert features[1].amin() == pytest.approx(float(features[1].amax()) - 2.0)


def test_more_than_a_window_is_refused():
    with pytest.raises(AudioError, match=r"audio of 30\.5 s given, but the model takes 30 s at most"):
        build_frontend(WhisperLogMelConfig()).extract(np.zeros(int(30.5 * RATE)), RATE)
