"""Fast kernels against the plain expressions that a trace gets in their place: values and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from asr.nn import kernels
from asr.nn.attention import attention_mask
from asr.nn.kernels import attend, convolve_depthwise, largest_of_many, relu_within, rotate, shift_distances
from asr.nn.positions import RotaryPositions

HEADS, HEAD_DIM = 2, 4
LENS = torch.tensor([6, 3])
MASK = attention_mask(LENS, 6)
TABLE = RotaryPositions(HEAD_DIM).at(torch.arange(6, dtype=torch.float64))


def random_qkv(length: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    query, key, value = torch.randn(3, 2, HEADS, length, HEAD_DIM, dtype=torch.float64)
    return query, key, value


QKV = ((2, HEADS, 6, HEAD_DIM),) * 3
KERNELS: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {  # with shapes of what gets gradients
    "attention": (lambda *qkv: attend(*qkv, None), QKV),
    "attention with a mask": (lambda *qkv: attend(*qkv, MASK), QKV),
    "attention with a mask that learns": (attend, (*QKV, (1, HEADS, 6, 6))),
    "attention to many keys": (lambda *qkv: attend(*qkv, None), ((1, 1, 2, 4), (1, 1, 600, 4), (1, 1, 600, 4))),
    "distances": (shift_distances, ((2, HEADS, 6, 11),)),
    "distances of one frame": (shift_distances, ((2, HEADS, 1, 1),)),
    "rotation": (lambda x: rotate(x, TABLE), ((2, HEADS, 6, HEAD_DIM),)),
    "convolution": (convolve_depthwise, ((3, 7, 4), (4, 1, 1, 5), (4,))),
    "convolution of one frame": (convolve_depthwise, ((1, 1, 4), (4, 1, 1, 5), (4,))),
    "convolution of many frames": (convolve_depthwise, ((2, 700, 4), (4, 1, 1, 5), (4,))),
    # leaves cannot be changed in place
    "ReLU within lengths": (lambda x: relu_within(x.clone(), LENS), ((2, 3, 6, 5),)),
}


@pytest.mark.parametrize(("kernel", "shapes"), KERNELS.values(), ids=KERNELS.keys())
def test_a_kernel_and_its_gradients_equal_the_plain_expression(
    kernel: Callable[..., Tensor], shapes: tuple[tuple[int, ...], ...]
) -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    found = kernel(*inputs)
    with patch.object(kernels, "is_traced", return_value=True):
        expected = kernel(*inputs)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    direction = torch.randn_like(expected)
    gradients = (torch.autograd.grad(output, inputs, direction) for output in (found, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_attention_with_dropout_averages_to_attention_without() -> None:
    query, key, value = random_qkv()
    mask = attention_mask(torch.tensor([6, 3]), 6)
    torch.manual_seed(0)
    mean = sum(attend(query, key, value, mask, 0.25) for _ in range(4000)) / 4000
    torch.testing.assert_close(mean, attend(query, key, value, mask), rtol=0, atol=0.08)


def test_bfloat16_training_and_evaluation_attend_alike() -> None:
    query, key, value = (x.bfloat16() for x in random_qkv())
    mask = attention_mask(torch.tensor([6, 3]), 6)
    trained = attend(query.requires_grad_(), key, value, mask)
    with torch.no_grad():
        evaluated = attend(query, key, value, mask)
    torch.testing.assert_close(trained, evaluated, rtol=0.02, atol=0.02)


def test_a_mask_that_allows_everything_changes_nothing() -> None:
    query, key, value = random_qkv()
    everything = attention_mask(torch.tensor([6, 6]), 6)
    masked, unmasked = (attend(query, key, value, mask) for mask in (everything, None))
    torch.testing.assert_close(masked, unmasked, rtol=1e-12, atol=1e-12)


def test_gradients_of_keys_are_laid_out_as_the_keys() -> None:
    """Transposed ones would slow everything that follows."""
    query, key, value = (x.requires_grad_() for x in random_qkv())
    for gradient in torch.autograd.grad(attend(query, key, value, None).square().sum(), (query, key, value)):
        assert gradient.is_contiguous()


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
@torch.no_grad()
def test_the_exported_recurrence_is_that_of_torchs_layer(layer: type[nn.LSTM | nn.GRU | nn.RNN]) -> None:
    torch.manual_seed(0)
    recurrence = layer(3, 4, batch_first=True).double()
    start, following = torch.randn(2, 2, 5, 3, dtype=torch.float64)
    expected, state = kernels.recur(recurrence, start)
    resumed, _ = kernels.recur(recurrence, following, state)
    with patch.object(torch.compiler, "is_exporting", return_value=True):
        found, state = kernels.recur(recurrence, start)
        assert torch.equal(found, expected)
        assert torch.equal(kernels.recur(recurrence, following, state)[0], resumed)


def test_only_the_host_leaves_out_masks_and_only_of_full_batches() -> None:
    assert not kernels.may_hold_padding(torch.tensor([6, 6]), 6)
    assert kernels.may_hold_padding(LENS, 6)
    assert kernels.may_hold_padding(torch.tensor([6, 6], device="meta"), 6)


def test_the_largest_of_many_is_found_by_blocks_as_by_one_look() -> None:
    x = torch.randn(5, 128 * 130 + 17, generator=torch.Generator().manual_seed(0))
    x[0, -1] = x[1, 0] = x[2, 128] = 9.0
    x[3] = -math.inf
    for found, expected in zip(largest_of_many(x), x.max(1), strict=True):
        assert found[:3].tolist() == expected[:3].tolist()
    assert float(largest_of_many(x)[0][3]) == -math.inf
    x[4, 7] = math.nan
    assert largest_of_many(x)[0][4].isnan()
