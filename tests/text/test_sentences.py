"""Token sequences as a predictor of the next token reads them."""

from __future__ import annotations

import torch

from asr.text.sentences import with_start
from tests.foreign_vocabularies import nemo, whisper


def test_the_start_stands_in_front_and_padding_becomes_legal() -> None:
    tokens = torch.tensor([[4, 5, 6], [7, 999, -3]])
    vocabulary = whisper().vocabulary
    sos, eos = vocabulary.sos, vocabulary.eos
    assert with_start(tokens, torch.tensor([3, 1]), vocabulary).tolist() == [[sos, 4, 5, 6], [sos, 7, eos, eos]]


def test_a_batch_without_tokens_is_the_start_alone() -> None:
    vocabulary = nemo().vocabulary
    none = torch.zeros(2, 0, dtype=torch.int64)
    assert with_start(none, torch.tensor([0, 0]), vocabulary).tolist() == [[vocabulary.blank]] * 2
