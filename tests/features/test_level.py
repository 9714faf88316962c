"""Speech of any loudness has the features of speech of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from asr.audio.io import load_audio
from asr.experiments import launch
from asr.features import build_frontend
from asr.features.fbank import FbankConfig
from asr.features.kaldi import KaldiFrontend
from asr.features.level import FADING_DB, FASTEST, GATE_DB, LevelConfig, RunningLevel, utterance_gains
from asr.features.mfcc import MfccConfig
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.segmentation import SegmentationConfig

RATE = 16000


def speech(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """Noise in syllables of various loudness, with pauses, far above rounding."""
    rng = np.random.default_rng(seed)
    loudness = np.repeat(rng.choice([0.0, 0.02, 0.05, 0.1], round(seconds * 10)), RATE // 10)
    return (rng.normal(0, 1, len(loudness)) * loudness + rng.normal(0, 1e-4, len(loudness))).astype(np.float32)


def frontend_of(over: str | None, kind: type[FbankConfig] | type[MfccConfig] = FbankConfig) -> KaldiFrontend:
    config = kind(cmvn="none", level=None if over is None else LevelConfig(over=over))
    frontend = build_frontend(config).double()
    assert isinstance(frontend, KaldiFrontend)
    return frontend


def louder(waveform: np.ndarray, db: float) -> np.ndarray:
    return waveform.astype(np.float64) * 10 ** (db / 20)


@pytest.mark.parametrize("kind", [FbankConfig, MfccConfig])
@pytest.mark.parametrize("over", ["utterance", "running"])
@pytest.mark.parametrize("db", [-40.0, -20.0, 20.0])
def test_a_louder_or_quieter_recording_has_the_same_features(
    db: float, over: str, kind: type[FbankConfig] | type[MfccConfig]
) -> None:
    frontend, waveform = frontend_of(over, kind), speech()
    features = frontend.extract(louder(waveform, 0), RATE)
    torch.testing.assert_close(frontend.extract(louder(waveform, db), RATE), features, rtol=0, atol=1e-6)
    plain = frontend_of(None, kind)
    assert (plain.extract(louder(waveform, db), RATE) - plain.extract(louder(waveform, 0), RATE)).abs().max() > 1


def test_speech_comes_to_the_target() -> None:
    waveform = speech()
    frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64), 400)[::160]
    powers = frames.var(axis=1)
    mean = powers[powers > powers.max() * 10 ** (-GATE_DB / 10)].mean()
    gain = 10 ** ((-20 - 10 * np.log10(mean)) / 20)
    config = FbankConfig(cmvn="none", level=LevelConfig(target_db=-20))
    levelled = build_frontend(config).double().extract(waveform, RATE)
    torch.testing.assert_close(levelled, frontend_of(None).extract(waveform * gain, RATE), rtol=0, atol=1e-6)


def test_pauses_do_not_count_nor_does_how_long_they_are() -> None:
    frontend, waveform = frontend_of("utterance"), speech()
    noise = np.random.default_rng(1).normal(0, 1e-4, 10 * RATE).astype(np.float32)
    alone, among = (frontend.extract(samples, RATE) for samples in (waveform, np.concatenate((waveform, noise))))
    assert (among[: len(alone)] - alone).abs().max() < 0.05


def test_a_constant_is_no_sound() -> None:
    """A microphone's offset by itself does not count as loud."""
    frontend, waveform = frontend_of("utterance"), speech()
    torch.testing.assert_close(
        frontend.extract(waveform + 0.2, RATE), frontend.extract(waveform, RATE), rtol=0, atol=0.02
    )


@pytest.mark.parametrize("over", ["utterance", "running"])
def test_silence_stays_silence_and_rounding_noise_is_not_made_speech(over: str) -> None:
    frontend, plain = frontend_of(over), frontend_of(None)
    silence = np.zeros(RATE)
    assert torch.equal(frontend.extract(silence, RATE), plain.extract(silence, RATE))
    rounding = np.random.default_rng(0).choice([0.0, 1 / 32768], RATE)
    most = 2 * (80 - 28) / 20 * np.log(10)  # in natural logarithms of power: from QUIETEST_DB to the target
    gained = frontend.extract(rounding, RATE) - plain.extract(rounding, RATE)
    torch.testing.assert_close(gained, torch.full_like(gained, most), rtol=0, atol=1e-3)


def brute_force_gains(powers: Tensor, config: LevelConfig) -> Tensor:
    gains, peak = [], -np.inf
    for now in range(len(powers)):
        level = 10 * np.log10(float(powers[max(0, now - FASTEST + 1) : now + 1].mean()))
        peak = max(peak - FADING_DB, level)
        gains.append(10 ** ((config.target_db - peak) / 20))
    return torch.tensor(gains, dtype=torch.float64)


def test_the_running_level_is_the_loudest_so_far_and_fades() -> None:
    config = LevelConfig(over="running")
    powers = 10 ** (-6 * torch.rand(2, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1)
    gains = RunningLevel(config, 2).gains(powers)
    for row in range(2):
        torch.testing.assert_close(gains[row], brute_force_gains(powers[row], config))


def test_rows_of_no_windows_pass() -> None:
    config = LevelConfig()
    assert utterance_gains(torch.zeros(2, 0, dtype=torch.float64), torch.tensor([0, 0]), config).shape == (2, 1)
    running = RunningLevel(LevelConfig(over="running"), 2)
    assert running.gains(torch.zeros(2, 0, dtype=torch.float64)).shape == (2, 0)


@pytest.mark.parametrize("over", ["utterance", "running"])
def test_a_model_trained_with_a_level_hears_the_same_in_recordings_of_any(over: str, workspace: Path) -> None:
    settings = (f"frontend={{cmvn: global, level: {{over: {over}}}}}", "training.epochs=1")
    launch.train(Path("experiment.yaml"), Path("levelled"), overrides=settings, device="cpu")
    recognizer = Recognizer.load("levelled", device="cpu", segmentation=SegmentationConfig(vad=None))
    samples = load_audio(Path("audio/5.wav"), RATE)
    heard = recognizer.transcribe(samples)
    assert heard.text
    for db in (-30, 20):
        assert recognizer.transcribe(samples * 10 ** (db / 20)).text == heard.text
