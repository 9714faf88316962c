"""Padded token sequences as whatever predicts the next token reads them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from asr.lengths import padding_mask
from asr.text.vocabulary import EOS, SOS


def with_sos(tokens: Tensor, token_lens: Tensor) -> Tensor:
    """Tokens (B, U) -> input (B, U + 1): SOS in front, and legal ids where padding stood."""
    return F.pad(tokens.masked_fill(padding_mask(token_lens, tokens.shape[1]), EOS), (1, 0), value=SOS)
