"""Connectionist temporal classification loss (Graves et al., ICML 2006)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def ctc_loss(log_probs: Tensor, lens: Tensor, tokens: Tensor, token_lens: Tensor, *, blank: int) -> Tensor:
    """Negative log-likelihood of each utterance's tokens, summed over all alignments: (B,), float32 or float64.

    `log_probs` (B, S, V) may hold -inf for tokens that never occur; `tokens` (B, U) may be empty (U = 0). An utterance
    with too few frames for its tokens costs inf, and its gradient is not finite: the caller decides what to do with it.
    Torch reads both lengths on the CPU, so they had better be there while the others are on a GPU.
    """
    log_probs = log_probs.to(torch.promote_types(log_probs.dtype, torch.float32))
    # A finite floor instead of -inf, because torch's gradient subtracts log-probabilities: inf - inf would be NaN.
    floored = log_probs.masked_fill(log_probs.isneginf(), torch.finfo(log_probs.dtype).min)
    return F.ctc_loss(floored.transpose(0, 1), tokens, lens, token_lens, blank=blank, reduction="none")
