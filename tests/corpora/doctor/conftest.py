"""A front-end and a tokenizer for tests of the doctor."""

from __future__ import annotations

import pytest

from asr.features import Frontend, build_frontend
from asr.features.fbank import FbankConfig
from asr.text.tokenizer import Tokenizer, train_tokenizer
from asr.text.tokenizer.char import CharConfig


@pytest.fixture(scope="session")
def frontend() -> Frontend:
    return build_frontend(FbankConfig(sample_rate=8000, num_mel_bins=8, cmvn="utterance"))


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(CharConfig(), ["word 0", "word 1", "word 2"])
