"""A small corpus of noise bursts with texts, and what is needed to load it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asr.audio.augment import AugmentConfig, WaveformAugment
from asr.audio.io import write_wav
from asr.data.dataset import SpeechDataset
from asr.features import Frontend, build_frontend
from asr.features.fbank import FbankConfig
from asr.features.spec_augment import SpecAugment, SpecAugmentConfig
from asr.text.tokenizer import Tokenizer, train_tokenizer
from asr.text.tokenizer.char import CharConfig
from asr.types import Utterance

SAMPLE_RATE = 8000


@pytest.fixture(scope="session")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    return [make_utterance(folder, f"u{n:02}", rng.uniform(0.2, 1.0), f"Word {n % 3}") for n in range(24)]


def make_utterance(folder: Path, id: str, duration: float, text: str) -> Utterance:
    waveform = np.random.default_rng(len(id)).uniform(-0.5, 0.5, round(duration * SAMPLE_RATE)).astype(np.float32)
    write_wav(folder / f"{id}.wav", waveform, SAMPLE_RATE)
    return Utterance(id, folder / f"{id}.wav", len(waveform) / SAMPLE_RATE, text)


@pytest.fixture(scope="session")
def frontend() -> Frontend:
    config = FbankConfig(sample_rate=SAMPLE_RATE, num_mel_bins=8, cmvn="utterance")
    return build_frontend(config)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(CharConfig(), ["word 0", "word 1", "word 2"])


@pytest.fixture
def dataset(utterances: list[Utterance], frontend: Frontend, tokenizer: Tokenizer) -> SpeechDataset:
    return SpeechDataset(
        utterances,
        frontend,
        tokenizer,
        "basic",
        augment=WaveformAugment(AugmentConfig(speeds=(0.9, 1.0, 1.1)), SAMPLE_RATE),
        spec_augment=SpecAugment(SpecAugmentConfig(max_freq_width=2)),
        seed=1,
    )
