"""Token sequences as a predictor of the next token reads them."""

from __future__ import annotations

import torch

from asr.text.sentences import with_sos
from asr.text.vocabulary import EOS, SOS


def test_sos_stands_in_front_and_padding_becomes_legal() -> None:
    tokens = torch.tensor([[4, 5, 6], [7, 999, -3]])
    assert with_sos(tokens, torch.tensor([3, 1])).tolist() == [[SOS, 4, 5, 6], [SOS, 7, EOS, EOS]]


def test_a_batch_without_tokens_is_sos_alone() -> None:
    assert with_sos(torch.zeros(2, 0, dtype=torch.int64), torch.tensor([0, 0])).tolist() == [[SOS], [SOS]]
