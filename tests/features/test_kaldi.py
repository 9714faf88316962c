"""Filterbanks and cepstra against kaldi-native-fbank, on real speech, and alone against batched."""

from __future__ import annotations

from pathlib import Path

import kaldi_native_fbank as knf
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from asr.audio.io import load_audio
from asr.features import FRONTENDS, build_frontend
from asr.features.fbank import FbankConfig
from asr.features.kaldi import KaldiConfig, KaldiFrontend
from asr.features.mfcc import MfccConfig
from asr.lengths import pad_stack

TOLERANCE = 5e-3
SHARED_OPTIONS = [
    {},
    {"sample_rate": 8000},
    {"num_mel_bins": 40},
    {"frame_length_ms": 32.0},
    {"frame_shift_ms": 12.5},
    {"low_freq": 100.0},
    {"high_freq": 3800.0},
    {"high_freq": -400.0},
    {"preemphasis": 0.0},
    {"window_type": "hanning"},
    {"window_type": "hamming"},
    {"window_type": "blackman"},
    {"window_type": "sine"},
    {"window_type": "rectangular"},
    {"remove_dc_offset": False},
    {"use_energy": True},
    {"use_energy": True, "raw_energy": False},
    {"use_energy": True, "energy_floor": 1e8},
]
FBANK_OPTIONS = [{"use_power": False}]
MFCC_OPTIONS = [
    {"use_energy": False},
    {"num_ceps": 20},
    {"cepstral_lifter": 0.0},
    {"cepstral_lifter": 10.0},
    {"num_mel_bins": 40, "num_ceps": 40},
]
CASES = [(FbankConfig, options) for options in SHARED_OPTIONS + FBANK_OPTIONS]
CASES += [(MfccConfig, options) for options in SHARED_OPTIONS + MFCC_OPTIONS]


def build(config: KaldiConfig) -> KaldiFrontend:
    frontend = build_frontend(config)
    assert isinstance(frontend, KaldiFrontend)
    return frontend


def alone(frontend: KaldiFrontend, waveform: Tensor) -> Tensor:
    features, lens = frontend(waveform[None], torch.tensor([len(waveform)]), normalize=False)
    assert features.shape == (1, int(lens), frontend.num_features)
    return features[0]


def kaldi(config: KaldiConfig, waveform: np.ndarray) -> np.ndarray:
    """The same features by kaldi-native-fbank."""
    options = knf.FbankOptions() if config.name == "fbank" else knf.MfccOptions()
    frames, mel = options.frame_opts, options.mel_opts
    frames.samp_freq, frames.dither = config.sample_rate, 0.0
    frames.frame_length_ms, frames.frame_shift_ms = config.frame_length_ms, config.frame_shift_ms
    frames.preemph_coeff, frames.window_type = config.preemphasis, config.window_type
    frames.remove_dc_offset, frames.snip_edges = config.remove_dc_offset, config.snip_edges
    mel.num_bins, mel.low_freq, mel.high_freq = config.num_mel_bins, config.low_freq, config.high_freq
    options.use_energy, options.raw_energy = config.use_energy, config.raw_energy
    options.energy_floor = config.energy_floor
    if isinstance(config, MfccConfig):
        options.num_ceps, options.cepstral_lifter = config.num_ceps, config.cepstral_lifter
        computer = knf.OnlineMfcc(options)
    else:
        assert isinstance(config, FbankConfig)
        options.use_power = config.use_power
        computer = knf.OnlineFbank(options)
    computer.accept_waveform(config.sample_rate, (waveform * 32768).tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(t) for t in range(computer.num_frames_ready)])


@pytest.fixture(scope="module")
def speech(corpora: Path) -> dict[int, list[np.ndarray]]:
    """Real speech by sample rate, about a second of each recording."""
    an4 = sorted((corpora / "an4" / "wav" / "an4test_clstk").rglob("*.sph"))[::16]
    fsdd = sorted((corpora / "fsdd" / "recordings").glob("*.wav"))[::250]
    assert len(an4) >= 8
    assert len(fsdd) >= 8
    return {
        16000: [load_audio(path, 16000, duration=1.0 + 0.013 * number) for number, path in enumerate(an4)],
        8000: [load_audio(path, 8000) for path in fsdd],
    }


@pytest.mark.parametrize("snip_edges", [True, False])
@pytest.mark.parametrize(("config_class", "options"), CASES)
def test_features_of_real_speech_equal_those_of_kaldi(speech, config_class, options, snip_edges):
    config = config_class(**options, snip_edges=snip_edges)
    frontend = build(config)
    for waveform in speech[config.sample_rate]:
        expected = kaldi(config, waveform)
        np.testing.assert_allclose(alone(frontend, torch.from_numpy(waveform)), expected, rtol=0, atol=TOLERANCE)


def test_the_options_compared_with_kaldi_are_all_there_are():
    for config_class in (FbankConfig, MfccConfig):
        tried = {name for case, options in CASES if case is config_class for name in options}
        assert tried | {"name", "snip_edges", "cmvn", "level"} == set(config_class.model_fields)


@pytest.mark.parametrize("snip_edges", [True, False])
@pytest.mark.parametrize("config_class", [FbankConfig, MfccConfig])
def test_features_alone_equal_features_in_a_batch_padded_with_noise(config_class, snip_edges):
    frontend = build(config_class(snip_edges=snip_edges, use_energy=True)).double()
    generator = torch.Generator().manual_seed(0)
    waveforms = [
        0.1 * torch.randn(length, generator=generator, dtype=torch.float64)
        for length in (8000, 0, 1, 79, 80, 200, 399, 400, 559, 560, 47777)
    ]
    padded, lens = pad_stack(waveforms)
    for row, length in zip(padded, lens, strict=True):
        row[length:] = torch.randn(len(row) - int(length), generator=generator, dtype=torch.float64)
    features, feature_lens = frontend(padded, lens, normalize=False)
    for row, length, waveform in zip(features, feature_lens, waveforms, strict=True):
        expected = alone(frontend, waveform)
        assert len(expected) == length
        torch.testing.assert_close(row[:length], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("snip_edges", [True, False])
def test_output_lens_tells_the_frames_for_every_number_of_samples(snip_edges):
    frontend = build(FbankConfig(snip_edges=snip_edges, sample_rate=1000, num_mel_bins=5))
    lengths = torch.arange(0, 120)
    announced = frontend.output_lens(lengths).tolist()
    assert announced == [len(alone(frontend, torch.zeros(length))) for length in lengths.tolist()]


def test_audio_shorter_than_one_window_gives_no_frames():
    frontend = build(FbankConfig())
    assert len(alone(frontend, torch.randn(399))) == 0
    assert len(alone(frontend, torch.randn(400))) == 1


def test_edges_are_reflected_again_and_again_in_audio_shorter_than_half_a_window():
    waveform = np.random.default_rng(0).normal(0, 0.1, 90).astype(np.float32)
    config = FbankConfig(snip_edges=False)
    np.testing.assert_allclose(
        alone(build(config), torch.from_numpy(waveform)), kaldi(config, waveform), rtol=0, atol=TOLERANCE
    )


def test_digital_silence_is_finite():
    for config in (FbankConfig(), MfccConfig()):
        assert alone(build(config), torch.zeros(16000)).isfinite().all()


def test_features_in_float32_are_close_to_those_in_float64():
    waveform = 0.1 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    exact = alone(build(FbankConfig()).double(), waveform.double())
    torch.testing.assert_close(alone(build(FbankConfig()), waveform).double(), exact, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("fbank", {"low_freq": 7000.0, "high_freq": 6000.0}, "mel bands"),
        ("fbank", {"high_freq": 9000.0}, "half the sample rate"),
        ("fbank", {"frame_shift_ms": 0.01}, "at least one"),
        ("fbank", {"window_type": "kaiser"}, "window_type"),
        ("fbank", {"num_ceps": 13}, "num_ceps"),
        ("mfcc", {"num_ceps": 24}, "23 mel bins"),
    ],
)
def test_options_that_do_not_fit_are_refused(name, options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        FRONTENDS.config(name).model_validate(options)
