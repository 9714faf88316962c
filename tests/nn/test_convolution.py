"""The Conformer's convolution branch."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from asr.lengths import padding_mask
from asr.nn.convolution import ConvolutionModule, DepthwiseConvolution


@pytest.mark.parametrize(("dim", "length", "kernel_size"), [(6, 1, 5), (6, 40, 5), (20, 3, 31), (20, 64, 31)])
def test_depthwise_convolution_equals_the_one_dimensional_one(dim: int, length: int, kernel_size: int) -> None:
    torch.manual_seed(0)
    convolution = DepthwiseConvolution(dim, kernel_size).double()
    x = torch.randn(2, length, dim, dtype=torch.float64)
    expected = F.conv1d(
        x.transpose(1, 2), convolution.weight.squeeze(2), convolution.bias, padding=kernel_size // 2, groups=dim
    )
    torch.testing.assert_close(convolution(x), expected.transpose(1, 2), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dim", [16, 144])
def test_bfloat16_comes_back_from_lengths_that_hang_the_bfloat16_kernel(dim: int) -> None:
    convolution = DepthwiseConvolution(dim, 31).bfloat16()
    output = convolution(torch.randn(2, 52, dim, dtype=torch.bfloat16))
    assert output.dtype == torch.bfloat16
    assert output.isfinite().all()


def test_padding_is_silenced_right_before_frames_mix() -> None:
    torch.manual_seed(0)
    module = ConvolutionModule(6, 5, dropout=0.0).double()
    x, lens = torch.randn(2, 12, 6, dtype=torch.float64), torch.tensor([12, 7])
    together = module(x, padding_mask(lens, 12))
    torch.testing.assert_close(together[1, :7], module(x[1:, :7], None)[0], rtol=1e-9, atol=1e-9)
    assert (together[1, :7] - module(x, None)[1, :7]).abs().max() > 1e-3
