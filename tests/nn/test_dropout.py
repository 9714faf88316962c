"""Dropout keeps what it says, in every place, and nothing changes in eval mode."""

from __future__ import annotations

import pytest
import torch

from asr.nn.dropout import Dropout, StochasticDepth
from asr.nn.kernels import kept_bytes


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_every_byte_of_a_random_word_drops_at_the_same_rate(p: float) -> None:
    torch.manual_seed(0)
    dropout = Dropout(p).train()
    count = 100_000
    dropped = (dropout(torch.ones(count, 8)) == 0).float().mean(dim=0)  # column i is byte lane i
    expected = 1 - kept_bytes(p) / 256
    assert abs(expected - p) <= 0.5 / 256
    assert (dropped - expected).abs().max() < 5 * (p * (1 - p) / count) ** 0.5


def test_all_256_values_of_a_byte_occur_in_every_lane() -> None:
    torch.manual_seed(0)
    assert kept_bytes(1 / 256) == 255
    kept_almost_all = Dropout(1 / 256).train()
    assert ((kept_almost_all(torch.ones(20_000, 8)) == 0).sum(dim=0) > 0).all()


def test_kept_values_are_scaled_by_the_probability_used() -> None:
    dropout = Dropout(0.1).train()
    output = dropout(torch.ones(1000, dtype=torch.float64))
    assert set(output.unique().tolist()) == {0.0, 256 / 230}


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (0, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_and_dtype_stay(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    output = Dropout(0.3).train()(torch.ones(shape, dtype=dtype))
    assert output.shape == shape
    assert output.dtype == dtype


def test_the_same_seed_drops_the_same_values() -> None:
    dropout, x = Dropout(0.5).train(), torch.ones(64)
    torch.manual_seed(5)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(5)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)


def test_gradients_flow_where_values_did() -> None:
    x = torch.ones(500, requires_grad=True)
    output = Dropout(0.4).train()(x)
    output.sum().backward()
    assert torch.equal(x.grad, output)


def test_evaluation_is_the_identity() -> None:
    x = torch.randn(3, 4, 5)
    assert Dropout(0.5).eval()(x) is x
    assert StochasticDepth(0.5).eval()(x, x + 1).equal(x + 1)


def test_stochastic_depth_skips_whole_utterances_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    before, after = torch.zeros(20_000, 2, 3), torch.ones(20_000, 2, 3)
    output = StochasticDepth(0.2).train()(before, after)
    assert set(output.unique().tolist()) == {0.0, 1.25}
    assert (output == output[:, :1, :1]).all()
    assert abs(output.mean().item() - 1.0) < 0.02
