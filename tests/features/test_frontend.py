"""Front-ends by name: configurations of today and of earlier versions, a kind in one file."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from asr.config import parse_experiment
from asr.errors import ConfigError
from asr.features import FrontendConfig, build_frontend, upgrade_frontend
from asr.features.base import BaseFrontendConfig, Frontend
from asr.features.fbank import FbankConfig
from asr.features.mfcc import MfccConfig

PARSER: TypeAdapter[BaseFrontendConfig] = TypeAdapter(FrontendConfig)
DATA = {"train": "train.jsonl", "dev": "dev.jsonl"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"name": "fbank", "num_mel_bins": 40, "cmvn": "utterance"}, FbankConfig(num_mel_bins=40, cmvn="utterance")),
        ({"name": "mfcc", "num_ceps": 20}, MfccConfig(num_ceps=20)),
        ({"features": {"name": "mfcc", "num_ceps": 20}, "cmvn": "none"}, MfccConfig(num_ceps=20, cmvn="none")),
        ({"features": {"name": "fbank", "sample_rate": 8000}}, FbankConfig(sample_rate=8000)),
        ({"features": {"name": "mfcc"}, "num_ceps": 5}, MfccConfig(num_ceps=5)),
        ({"cmvn": "utterance"}, FbankConfig(cmvn="utterance")),
        ({}, FbankConfig()),
    ],
    ids=str,
)
def test_configurations_of_today_and_of_version_0_1_are_read(data, expected):
    before = repr(data)
    assert PARSER.validate_python(data) == expected
    assert upgrade_frontend(upgrade_frontend(data)) == upgrade_frontend(data)
    assert repr(data) == before


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"name": "plp"}, "unknown frontend name 'plp'; known: fbank, mfcc"),
        ({"name": "fbnk"}, "unknown frontend name 'fbnk'; did you mean 'fbank'?"),
        ({"features": {"name": "plp"}}, "unknown frontend name 'plp'"),
        ({"features": 3}, "unknown key 'frontend.features'"),
        ({"name": "fbank", "num_mels_bins": 40}, "unknown key 'frontend.num_mels_bins'; did you mean 'num_mel_bins'?"),
        ({"name": "fbank", "num_ceps": 40}, "unknown key 'frontend.num_ceps'"),
        ({"name": "fbank", "cmvn": "globl"}, "frontend.cmvn: input should be 'global', 'utterance' or 'none'"),
        ("fbank", "frontend: "),
    ],
    ids=str,
)
def test_a_mistake_is_named_with_its_key(data, complaint):
    with pytest.raises(ConfigError) as caught:
        parse_experiment({"data": DATA, "frontend": data}, source="x.yaml")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rate_shift_and_size_come_from_the_config():
    frontend = build_frontend(FbankConfig(sample_rate=8000, num_mel_bins=40, frame_shift_ms=12.5))
    assert (frontend.sample_rate, frontend.num_features, frontend.frame_seconds) == (8000, 40, 0.0125)
    assert frontend.window_seconds is None
    assert build_frontend(MfccConfig(num_ceps=20)).num_features == 20


@pytest.mark.parametrize(
    ("cmvn", "streams", "saved"),
    [("global", True, {"cmvn.mean", "cmvn.inv_std"}), ("none", True, set()), ("utterance", False, set())],
)
def test_normalisation_decides_what_is_saved_and_whether_it_streams(cmvn, streams, saved):
    frontend = build_frontend(FbankConfig(cmvn=cmvn))
    assert frontend.streams is streams
    assert set(frontend.state_dict()) == saved


def test_fitted_features_have_mean_0_and_deviation_1_over_the_corpus():
    generator = torch.Generator().manual_seed(0)
    rows = [0.1 * torch.randn(length, generator=generator) for length in (16000, 30000)]
    frontend = build_frontend(FbankConfig())
    frontend.fit(frontend.extract(row, 16000, normalize=False) for row in rows)
    frames = torch.cat([frontend.extract(row, 16000) for row in rows])
    torch.testing.assert_close(frames.mean(dim=0), torch.zeros(80), rtol=0, atol=1e-4)
    torch.testing.assert_close(frames.std(dim=0, correction=0), torch.ones(80), rtol=1e-4, atol=0)


class SamplesConfig(BaseFrontendConfig):
    """A front-end that hands samples on, as raw-waveform models need them."""

    name: Literal["samples"] = "samples"


class Samples(Frontend):
    """(B, N) -> (B, N, 1)."""

    def __init__(self, config: SamplesConfig) -> None:
        super().__init__(config, num_features=1)

    @property
    def frame_seconds(self) -> float:
        return 1 / self.sample_rate

    def output_lens(self, num_samples: Tensor) -> Tensor:
        return num_samples

    def compute(self, waveforms: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        return waveforms[..., None], lens


def test_a_kind_needs_a_config_and_three_methods():
    frontend = Samples(SamplesConfig())
    features, lens = frontend(torch.ones(2, 5), torch.tensor([5, 3]))
    assert features[..., 0].tolist() == [[1.0] * 5, [1.0, 1.0, 1.0, 0.0, 0.0]]
    assert lens.tolist() == [5, 3]
    assert not frontend.streams
    with pytest.raises(ConfigError, match="front-end 'samples' needs the whole utterance"):
        frontend.stream()


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValidationError):
        PARSER.validate_python({"name": "samples"})
