"""The weighted sum of the heads' losses, and which weights fit a model."""

from __future__ import annotations

import pytest
import torch

from asr.errors import ConfigError
from asr.losses.weights import LossConfig, weighted_sum

JOINT = LossConfig(weights={"ctc": 0.3, "lstm": 0.7}, intermediate_weight=0.25, consistency_weight=0.2)


def test_the_total_is_the_weighted_sum_of_all_losses_of_all_heads() -> None:
    torch.manual_seed(1)
    ctc, layers, consistency, attention = torch.rand(4, 3, dtype=torch.float64).unbind()
    losses = {"ctc": {"": ctc, "intermediate": layers, "consistency": consistency}, "lstm": {"": attention}}
    expected = 0.3 * (0.75 * ctc + 0.25 * layers) + 0.2 * consistency + 0.7 * attention
    torch.testing.assert_close(weighted_sum(losses, JOINT), expected, rtol=1e-12, atol=1e-12)


def test_a_head_alone_counts_once_and_without_intermediate_losses_its_own_counts_whole() -> None:
    loss = torch.tensor([2.0, 3.0])
    assert torch.equal(weighted_sum({"ctc": {"": loss}}, LossConfig()), loss)


@pytest.mark.parametrize(
    ("weights", "heads", "has_ctc", "named"),
    [
        ({"ctc": 0.3}, ["ctc", "lstm"], True, "head 'lstm' has none"),
        ({}, ["ctc", "lstm"], True, "head 'ctc' has none"),
        ({"ctc": 0.0, "lstm": 1.0}, ["ctc", "lstm"], True, "'ctc' would never learn"),
        ({"ctc": 1.0, "lstn": 1.0}, ["ctc", "lstm"], True, "did you mean 'lstm'"),
    ],
)
def test_weights_that_do_not_fit_the_heads_are_refused(
    weights: dict[str, float], heads: list[str], has_ctc: bool, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        LossConfig(weights=weights).check(heads, has_ctc=has_ctc)


def test_consistency_needs_a_ctc_head() -> None:
    LossConfig(consistency_weight=0.2).check(["ctc"], has_ctc=True)
    with pytest.raises(ConfigError, match="consistency_weight"):
        LossConfig(consistency_weight=0.2).check(["lstm"], has_ctc=False)
