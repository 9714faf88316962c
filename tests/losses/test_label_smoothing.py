"""Label-smoothed cross entropy against torch's and against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from asr.losses.label_smoothing import label_smoothing_loss
from asr.text.tokenizer.sentence_piece import BLANK, EOS, SOS

TOKENS = torch.tensor([[4, 5, 6], [7, -1, -1], [-1, -1, -1]])  # -1: padding that must not be looked at
TOKEN_LENS = torch.tensor([3, 1, 0])
TARGETS = torch.tensor([[4, 5, 6, EOS], [7, EOS, -100, -100], [EOS, -100, -100, -100]])  # -100: ignored by torch


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_loss_equals_torchs_cross_entropy_where_every_token_is_possible(smoothing: float) -> None:
    logits = torch.randn(3, 4, 8, dtype=torch.float64)
    loss = label_smoothing_loss(logits.log_softmax(-1), TOKENS, TOKEN_LENS, smoothing, eos=EOS)
    expected = F.cross_entropy(logits.transpose(1, 2), TARGETS, label_smoothing=smoothing, reduction="none").sum(-1)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


def test_impossible_tokens_are_left_out_as_if_the_vocabulary_lacked_them() -> None:
    logits = torch.randn(3, 4, 8, dtype=torch.float64)
    possible = torch.tensor([token not in (BLANK, SOS) for token in range(8)])
    log_probs = logits.masked_fill(~possible, -math.inf).log_softmax(-1)
    new_ids = possible.cumsum(0) - 1
    targets = torch.where(TARGETS >= 0, new_ids[TARGETS.clamp(min=0)], TARGETS)
    expected = F.cross_entropy(logits[..., possible].transpose(1, 2), targets, label_smoothing=0.1, reduction="none")
    loss = label_smoothing_loss(log_probs, TOKENS, TOKEN_LENS, 0.1, eos=EOS)
    torch.testing.assert_close(loss, expected.sum(-1), rtol=1e-12, atol=1e-12)


def test_gradient_is_finite_with_impossible_tokens_and_zero_at_padding() -> None:
    logits = torch.randn(3, 4, 8, requires_grad=True)
    impossible = torch.tensor([token in (BLANK, SOS) for token in range(8)])
    log_probs = logits.masked_fill(impossible, -math.inf).log_softmax(-1)
    label_smoothing_loss(log_probs, TOKENS, TOKEN_LENS, 0.1, eos=EOS).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert not logits.grad[1, 2:].any()
    assert logits.grad[1, :2].abs().sum(-1).all()


def test_loss_of_half_precision_outputs_is_computed_in_single_precision() -> None:
    log_probs = torch.randn(3, 4, 8).log_softmax(-1).bfloat16()
    assert label_smoothing_loss(log_probs, TOKENS, TOKEN_LENS, 0.1, eos=EOS).dtype == torch.float32
