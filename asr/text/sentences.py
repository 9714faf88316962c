"""Padded token sequences as whatever predicts the next token reads them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from asr.lengths import padding_mask
from asr.text.vocabulary import Vocabulary


def with_start(tokens: Tensor, token_lens: Tensor, vocabulary: Vocabulary) -> Tensor:
    """Tokens (B, U) -> input (B, U + 1): the start in front, and ids of the vocabulary where padding stood."""
    padding = padding_mask(token_lens, tokens.shape[1])
    return F.pad(tokens.masked_fill(padding, vocabulary.end), (1, 0), value=vocabulary.start)
