"""Masks in frequency and time, and the warped frequency axis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from asr.features.spec_augment import SpecAugment, SpecAugmentConfig

NOTHING = {"num_freq_masks": 0, "max_time_masks": 0}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def masked_runs(masked: torch.Tensor) -> list[int]:
    """Lengths of the stretches of True."""
    return [len(run) for run in "".join("x" if value else " " for value in masked.tolist()).split()]


def test_frequency_masks_are_whole_columns_of_limited_width():
    augment = SpecAugment(SpecAugmentConfig(num_freq_masks=1, max_freq_width=10, max_time_masks=0))
    widths = set()
    for seed in range(300):
        masked = augment(torch.ones(50, 80), rng(seed)) == 0
        assert torch.equal(masked.any(dim=0), masked.all(dim=0))
        widths.update(masked_runs(masked[0]) or [0])
    assert widths == set(range(11))


@pytest.mark.parametrize(("num_frames", "masks", "max_width"), [(100, 4, 4), (400, 16, 16), (2000, 20, 80), (20, 0, 0)])
def test_time_masks_grow_in_number_and_width_with_the_utterance(num_frames, masks, max_width):
    config = SpecAugmentConfig(num_freq_masks=0, time_masks_per_frame=0.04, max_time_masks=20, max_time_fraction=0.04)
    counts = []
    for seed in range(100):
        masked = SpecAugment(config)(torch.ones(num_frames, 3), rng(seed)) == 0
        assert torch.equal(masked.any(dim=1), masked.all(dim=1))
        counts.append(int(masked[:, 0].sum()))
        assert len(masked_runs(masked[:, 0])) <= masks
    assert max(counts) <= masks * max_width
    assert (max(counts) > max_width) == (masks > 0)


def test_a_warp_moves_a_peak_by_at_most_its_fraction():
    features = torch.zeros(2, 80)
    features[:, 39:42] = torch.tensor([0.5, 1.0, 0.5])
    augment = SpecAugment(SpecAugmentConfig(**NOTHING, max_freq_warp=0.1))
    peaks = [int(augment(features, rng(seed))[0].argmax()) for seed in range(200)]
    assert min(peaks) in (36, 37)
    assert max(peaks) in (44, 45)


def test_a_warp_of_a_straight_line_is_a_straight_line_of_another_slope():
    line = torch.arange(80.0).expand(3, 80)
    warped = SpecAugment(SpecAugmentConfig(**NOTHING, max_freq_warp=0.2))(line, rng(3))
    slope = warped[0, 1]
    assert 0.8 <= slope <= 1.2
    torch.testing.assert_close(warped, (torch.arange(80) * slope).clamp(max=79).expand(3, 80), rtol=1e-4, atol=1e-4)


def test_without_masks_and_warp_nothing_changes():
    features = torch.randn(30, 80)
    assert torch.equal(SpecAugment(SpecAugmentConfig(**NOTHING))(features, rng()), features)


@pytest.mark.parametrize("shape", [(0, 80), (1, 80), (30, 1), (3, 5)])
@pytest.mark.parametrize("warp", [0.0, 0.3])
def test_small_features_pass_and_the_given_ones_are_kept(shape, warp):
    features = torch.randn(shape)
    before = features.clone()
    for seed in range(20):
        assert SpecAugment(SpecAugmentConfig(max_freq_warp=warp))(features, rng(seed)).shape == shape
    assert torch.equal(features, before)


def test_the_generator_alone_decides():
    augment = SpecAugment(SpecAugmentConfig(max_freq_warp=0.1))
    features = torch.randn(200, 80)
    assert torch.equal(augment(features, rng(1)), augment(features, rng(1)))
    assert not torch.equal(augment(features, rng(1)), augment(features, rng(2)))


@pytest.mark.parametrize(
    "values", [{"max_time_fraction": 1.5}, {"num_freq_masks": -1}, {"max_freq_warp": 1.0}, {"mask": 1}]
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ValidationError):
        SpecAugmentConfig.model_validate(values)
