"""Convolutional subsampling."""

from __future__ import annotations

import pytest
import torch

from asr.errors import ConfigError
from asr.nn.subsampling import Subsampling, SubsamplingConfig


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_an_encoder_frame_sees_feature_frames_around_its_own_place(factor: int) -> None:
    torch.manual_seed(0)
    subsampling = Subsampling(SubsamplingConfig(factor=factor, channels=3), 20, 5).double()
    features = torch.randn(1, 80, 20, dtype=torch.float64, requires_grad=True)
    frames, lens = subsampling(features, torch.tensor([80]))
    assert lens.tolist() == [80 // factor]
    (gradient,) = torch.autograd.grad(frames[0, 5].square().sum(), features)
    seen = gradient[0].abs().sum(-1).nonzero()[:, 0]
    # each halving reaches one frame further to either side, at its own rate
    assert seen.min() >= 5 * factor - (factor - 1)
    assert seen.max() <= 5 * factor + (factor - 1)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_a_batch_without_any_frame_gives_one_invalid_frame(factor: int) -> None:
    subsampling = Subsampling(SubsamplingConfig(factor=factor, channels=3), 20, 5)
    frames, lens = subsampling(torch.zeros(2, 0, 20), torch.tensor([0, 0]))
    assert frames.shape == (2, 1, 5)
    assert frames.isfinite().all()
    assert lens.tolist() == [0, 0]


def test_too_few_features_for_a_factor_are_refused_with_a_remedy() -> None:
    with pytest.raises(ConfigError, match="needs more than 8 features, not 8"):
        Subsampling(SubsamplingConfig(factor=8), 8, 5)


def test_frames_have_the_dtype_of_the_weights_under_autocast() -> None:
    subsampling = Subsampling(SubsamplingConfig(factor=4, channels=3), 20, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert subsampling(torch.zeros(2, 30, 20), torch.tensor([30, 4]))[0].dtype == torch.float32


def test_gradients_stop_at_padding_and_are_right_before_it() -> None:
    torch.manual_seed(0)
    subsampling = Subsampling(SubsamplingConfig(factor=4, channels=3), 8, 5).double()
    features = torch.randn(2, 13, 8, dtype=torch.float64, requires_grad=True)
    lens = torch.tensor([13, 6])
    assert torch.autograd.gradcheck(lambda features: subsampling(features, lens)[0], (features,))
    (gradient,) = torch.autograd.grad(subsampling(features, lens)[0].square().sum(), features)
    assert (gradient[1, 6:] == 0).all()
    assert (gradient[1, :6] != 0).any()
