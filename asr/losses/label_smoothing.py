"""Cross entropy of a decoder's predictions, with label smoothing (Szegedy et al., 2016)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from asr.lengths import padding_mask


def label_smoothing_loss(
    log_probs: Tensor, tokens: Tensor, token_lens: Tensor, smoothing: float, *, eos: int
) -> Tensor:
    """Smoothed cross entropy of each utterance, summed over its tokens and its end: (B,), float32 or float64.

    `log_probs` (B, U + 1, V) predict the tokens (B, U) and then `eos`. The share `smoothing` in [0, 1) of each target
    is spread evenly over the entries that are possible at all: those whose log-probability is not -inf.
    """
    log_probs = log_probs.to(torch.promote_types(log_probs.dtype, torch.float32))
    positions = log_probs.shape[1]
    targets = F.pad(tokens, (0, 1)).masked_fill(padding_mask(token_lens, positions), eos)
    target_loss = -log_probs.gather(-1, targets[..., None]).squeeze(-1)
    impossible = log_probs.isneginf()
    uniform_loss = -log_probs.masked_fill(impossible, 0.0).sum(-1) / (~impossible).sum(-1)
    loss = (1.0 - smoothing) * target_loss + smoothing * uniform_loss
    return loss.masked_fill(padding_mask(token_lens + 1, positions), 0.0).sum(-1)
