"""The front-end: waveform to normalised features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from asr.errors import AudioError
from asr.features.base import FEATURES
from asr.features.fbank import FbankConfig
from asr.features.frontend import Frontend, FrontendConfig
from asr.features.mfcc import MfccConfig
from asr.lengths import pad_stack

CONFIGS = [
    FrontendConfig(features=FEATURES.config(name)(), cmvn=cmvn)
    for name in FEATURES.names()
    for cmvn in ("global", "utterance", "none")
]


def waveforms(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(length, generator=generator) for length in lengths]


def fitted(config: FrontendConfig) -> Frontend:
    frontend = Frontend(config)
    if frontend.needs_statistics:
        rate = frontend.sample_rate
        frontend.fit_cmvn(frontend.extract(w, rate, normalize=False) for w in waveforms(16000, 30000))
    return frontend


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_features_alone_equal_features_in_a_batch_and_padding_is_0(config):
    frontend = fitted(config).double()
    rows = [waveform.double() for waveform in waveforms(16000, 300, 5000, 401)]
    padded, lens = pad_stack(rows, value=0.7)
    features, feature_lens = frontend(padded, lens)
    assert feature_lens.tolist() == frontend.output_lens(lens).tolist() == [98, 0, 29, 1]
    for row, length, waveform in zip(features, feature_lens, rows, strict=True):
        expected = frontend.extract(waveform, 16000)
        assert expected.shape == (length, frontend.num_features)
        torch.testing.assert_close(row[:length], expected, rtol=1e-9, atol=1e-9)
        assert not row[length:].any()


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_statistics_are_saved_with_the_module(config):
    frontend = fitted(config)
    copy = Frontend(FrontendConfig.model_validate(config.model_dump()))
    copy.load_state_dict(frontend.state_dict())
    assert set(frontend.state_dict()) == ({"cmvn.mean", "cmvn.inv_std"} if config.cmvn == "global" else set())
    waveform = waveforms(8000)[0]
    assert torch.equal(copy.extract(waveform, 16000), frontend.extract(waveform.numpy(), 16000))


def test_fitted_features_have_mean_0_and_deviation_1_over_the_corpus():
    frontend = fitted(FrontendConfig())
    frames = torch.cat([frontend.extract(waveform, 16000) for waveform in waveforms(16000, 30000)])
    torch.testing.assert_close(frames.mean(dim=0), torch.zeros(80), rtol=0, atol=1e-4)
    torch.testing.assert_close(frames.std(dim=0, correction=0), torch.ones(80), rtol=1e-4, atol=0)


def test_another_sample_rate_is_refused():
    with pytest.raises(AudioError, match="audio of 8000 Hz given, but the features need 16000 Hz"):
        Frontend(FrontendConfig()).extract(np.zeros(8000, dtype=np.float32), 8000)


def test_several_channels_are_refused():
    with pytest.raises(AudioError, match=r"shape \(2, 8000\)"):
        Frontend(FrontendConfig()).extract(np.zeros((2, 8000), dtype=np.float32), 16000)


def test_rate_shift_and_size_come_from_the_config():
    frontend = Frontend(FrontendConfig(features=FbankConfig(sample_rate=8000, num_mel_bins=40, frame_shift_ms=12.5)))
    assert (frontend.sample_rate, frontend.num_features, frontend.frame_shift) == (8000, 40, 0.0125)
    assert Frontend(FrontendConfig(features=MfccConfig(num_ceps=20))).num_features == 20


def test_features_are_picked_by_name_and_unknown_ones_refused():
    assert FrontendConfig.model_validate({"features": {"name": "mfcc"}}).features == MfccConfig()
    with pytest.raises(ValidationError):
        FrontendConfig.model_validate({"features": {"name": "plp"}})


def test_autocast_does_not_touch_the_features():
    frontend = fitted(FrontendConfig())
    waveform = waveforms(16000)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = frontend.extract(waveform, 16000)
    assert torch.equal(inside, frontend.extract(waveform, 16000))
