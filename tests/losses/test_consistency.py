"""Consistency loss of CR-CTC against its definition, frame by frame."""

from __future__ import annotations

import math

import torch

from asr.losses.consistency import consistency_loss

FORBIDDEN = torch.tensor([False, False, True, True, False])
LENS = torch.tensor([4, 3, 4, 3])


def make_log_probs(logits: torch.Tensor) -> torch.Tensor:
    return logits.masked_fill(FORBIDDEN, -math.inf).log_softmax(-1)


def test_loss_is_the_divergence_from_the_other_view_summed_over_valid_frames() -> None:
    log_probs = make_log_probs(torch.randn(4, 4, 5, dtype=torch.float64))
    losses = consistency_loss(log_probs, LENS)
    for row, other in [(0, 2), (1, 3), (2, 0), (3, 1)]:
        expected = 0.0
        for frame in range(int(LENS[row])):
            for token in (0, 1, 4):
                p, q = log_probs[other, frame, token].item(), log_probs[row, frame, token].item()
                expected += math.exp(p) * (p - q)
        torch.testing.assert_close(losses[row].item(), expected, rtol=1e-12, atol=1e-12)


def test_each_view_learns_from_the_other_held_constant() -> None:
    logits = torch.randn(4, 4, 5, dtype=torch.float64, requires_grad=True)
    consistency_loss(make_log_probs(logits), LENS).sum().backward()
    probabilities = make_log_probs(logits.detach()).exp()
    # KL(p || softmax(z)) has the gradient softmax(z) - p with p held constant
    expected = probabilities - probabilities.roll(2, dims=0)
    expected[1, 3] = expected[3, 3] = 0.0
    torch.testing.assert_close(logits.grad, expected, rtol=1e-12, atol=1e-12)


def test_equal_views_cost_nothing() -> None:
    view = make_log_probs(torch.randn(2, 4, 5))
    assert not consistency_loss(torch.cat([view, view]), LENS).any()
