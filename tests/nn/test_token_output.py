"""Log-probabilities of tokens."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from asr.nn.token_output import TokenOutput


def test_forbidden_tokens_have_no_probability_and_the_rest_sums_to_one() -> None:
    output = TokenOutput(4, 6, forbidden=(2, 3))
    log_probs = output(torch.randn(5, 4))
    assert (log_probs[:, 2:4] == -math.inf).all()
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(5))


def test_log_probs_are_float32_even_under_autocast_and_float64_stays() -> None:
    output = TokenOutput(4, 6, forbidden=())
    with torch.autocast("cpu", torch.bfloat16):
        assert output(torch.randn(5, 4)).dtype == torch.float32
    assert output.bfloat16()(torch.randn(5, 4).bfloat16()).dtype == torch.float32
    assert output.double()(torch.randn(5, 4).double()).dtype == torch.float64


def test_torch_ctc_sends_finite_gradients_through_forbidden_tokens() -> None:
    output = TokenOutput(4, 6, forbidden=(2, 3))
    x = torch.randn(10, 2, 4, requires_grad=True)
    lens = torch.tensor([10, 8])
    F.ctc_loss(output(x), torch.tensor([[4, 5], [5, 1]]), lens, torch.tensor([2, 2])).backward()
    assert all(tensor.grad.isfinite().all() for tensor in (x, *output.parameters()))
    assert output.linear.weight.grad[2:4].abs().max() == 0


def test_the_mask_is_no_part_of_the_saved_weights() -> None:
    assert set(TokenOutput(4, 6, forbidden=(2,)).state_dict()) == {"linear.weight", "linear.bias"}
