"""Consistency regularisation of CTC (CR-CTC; Yao et al., 2024, arXiv 2410.05101)."""

from __future__ import annotations

import torch
from torch import Tensor

from asr.lengths import padding_mask


def consistency_loss(log_probs: Tensor, lens: Tensor) -> Tensor:
    """How far each view's frames are from those of the other view of the same utterance: (B,), summed over frames.

    Rows i and B/2 + i of `log_probs` (B, S, V) are two differently masked views of one utterance, equally long. Each
    row's loss is KL(other view || this view) with the other view held constant, so each view learns from the other.
    The paper's loss of an utterance is the mean of its two rows.
    """
    assert len(log_probs) % 2 == 0, "two views of each utterance make an even batch"
    log_probs = log_probs.to(torch.promote_types(log_probs.dtype, torch.float32))
    target = log_probs.detach().roll(len(log_probs) // 2, dims=0)
    impossible = target.isneginf()  # in both views alike; 0 * -inf must count as 0
    difference = target.masked_fill(impossible, 0.0) - log_probs.masked_fill(impossible, 0.0)
    divergence = (target.exp() * difference).sum(-1)
    return divergence.masked_fill(padding_mask(lens, log_probs.shape[1]), 0.0).sum(-1)
