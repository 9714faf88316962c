"""Layers in fewer bits: what they compute, written down once more, and that a vector's result is its own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from asr.nn.low_precision import Bfloat16Linear, Int8Embedding, Int8Linear, computes_int8, lower_linears, whole_numbers

needs_int8 = pytest.mark.skipif(not computes_int8(), reason="torch has no products of whole numbers here")


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_whole_numbers_use_the_whole_range_of_each_row_and_give_themselves_again() -> None:
    weight = drawn(5, 40) * torch.tensor([[1e-3], [1.0], [50.0], [0.0], [1.0]])
    whole, scales = whole_numbers(weight)
    assert whole.abs().amax(1).tolist() == [127, 127, 127, 0, 127]
    assert (whole * scales[:, None] - weight).abs().amax() <= (scales / 2).amax() + 1e-9
    again, same = whole_numbers(whole * scales[:, None])
    assert torch.equal(again, whole)
    torch.testing.assert_close(same[:3], scales[:3])


@needs_int8
def test_an_int8_layer_multiplies_rounded_numbers_exactly() -> None:
    weight, bias, x = drawn(33, 70), drawn(33), drawn(9, 70) * torch.logspace(-3, 3, 9)[:, None]
    layer = Int8Linear(weight, bias)
    whole, scales = whole_numbers(weight)
    largest = x.abs().amax(1, keepdim=True)
    levels = layer._zero - 1
    rounded = (x / largest * levels).round()
    expected = (rounded.double() @ whole.double().T) * scales.double() * largest.double() / levels + bias.double()
    torch.testing.assert_close(layer(x).double(), expected, rtol=1e-5, atol=1e-5)


@needs_int8
def test_an_int8_layer_gives_a_vector_the_same_alone_and_among_others() -> None:
    layer, x = Int8Linear(drawn(48, 64), None), drawn(3, 7, 64)
    x[1] *= 1000.0
    together = layer(x)
    assert together.shape == (3, 7, 48)
    for row in range(3):
        torch.testing.assert_close(layer(x[row]), together[row], rtol=1e-6, atol=0)
    assert layer(x[:0]).shape == (0, 7, 48)


@needs_int8
def test_an_int8_layer_is_close_to_what_it_was_made_from_and_keeps_what_is_no_number() -> None:
    linear, x = nn.Linear(256, 256), drawn(20, 256)
    x[3, 5] = float("nan")
    found, expected = Int8Linear(linear.weight, linear.bias)(x), linear(x).detach()
    assert found[3].isnan().all()
    kept = [row for row in range(20) if row != 3]
    assert (found[kept] - expected[kept]).square().mean() < 1e-3 * expected[kept].square().mean()


def test_an_int8_embedding_gives_rounded_vectors() -> None:
    weight = drawn(11, 16)
    ids = torch.tensor([[3, 3], [10, 0]])
    assert (Int8Embedding(weight)(ids) - weight[ids]).abs().amax() <= weight.abs().amax() / 127 / 2 + 1e-6


def test_all_linear_layers_inside_are_lowered_and_nothing_else() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 4)))
    expected = module(drawn(5, 8)).detach()
    lower_linears(module, "bfloat16")
    assert [type(part) for part in module.modules() if not list(part.children())] == [
        Bfloat16Linear,
        nn.LayerNorm,
        Bfloat16Linear,
    ]
    torch.testing.assert_close(module(drawn(5, 8)).float(), expected, rtol=0.05, atol=0.05)
