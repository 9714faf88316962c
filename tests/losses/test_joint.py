"""The joint loss: its formula, its bookkeeping, and gradients that do not depend on how a step is split."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from asr.losses.joint import JointLoss, LossConfig
from torch import Tensor, nn

from asr.errors import ConfigError
from asr.losses.consistency import consistency_loss
from asr.losses.ctc import ctc_loss
from asr.losses.label_smoothing import label_smoothing_loss
from asr.types import Batch, EncoderOutput, ModelOutput

VOCAB_SIZE = 8
JOINT = LossConfig(ctc_weight=0.3, label_smoothing=0.1, intermediate_weight=0.25)


class TinyModel(nn.Module):
    """Frames are features; one linear layer for each output; the decoder sees the first frame and its position."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(5, VOCAB_SIZE, dtype=torch.float64) for _ in range(4)])

    def forward(self, batch: Batch) -> ModelOutput:
        ctc, lower, upper, attention = (layer(batch.features).log_softmax(-1) for layer in self.layers)
        encoder = EncoderOutput(batch.features, batch.feature_lens, (lower, upper))
        return ModelOutput(encoder, ctc, attention[:, : batch.tokens.shape[1] + 1])


def make_batch() -> Batch:
    generator = torch.Generator().manual_seed(3)
    return Batch(
        ids=("a", "b", "c", "d"),
        features=torch.randn(4, 9, 5, dtype=torch.float64, generator=generator),
        feature_lens=torch.tensor([9, 4, 7, 6]),
        tokens=torch.randint(4, VOCAB_SIZE, (4, 3), generator=generator),
        token_lens=torch.tensor([3, 2, 0, 1]),
    )


def rows(batch: Batch, keep: list[int]) -> Batch:
    return Batch(
        ids=tuple(batch.ids[row] for row in keep),
        features=batch.features[keep],
        feature_lens=batch.feature_lens[keep],
        tokens=batch.tokens[keep],
        token_lens=batch.token_lens[keep],
    )


def gradients(config: LossConfig, batches: list[Batch]) -> list[Tensor]:
    torch.manual_seed(5)
    model, loss = TinyModel(), JointLoss(config)
    outputs = [loss(model(batch), batch) for batch in batches]
    count = sum(output.count for output in outputs)
    for output in outputs:
        (output.total / count).backward()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def test_total_is_the_weighted_sum_of_the_parts() -> None:
    batch, model = make_batch(), TinyModel()
    output = model(batch)
    loss = JointLoss(JOINT)(output, batch)
    assert output.ctc_log_probs is not None
    assert output.decoder_log_probs is not None
    alignable = (batch.feature_lens, batch.tokens, batch.token_lens)
    ctc = ctc_loss(output.ctc_log_probs, *alignable)
    lower, upper = (ctc_loss(layer, *alignable) for layer in output.encoder.intermediate)
    attention = label_smoothing_loss(output.decoder_log_probs, batch.tokens, batch.token_lens, 0.1)
    expected = 0.3 * (0.75 * ctc + 0.25 * (lower + upper) / 2) + 0.7 * attention
    torch.testing.assert_close(loss.per_utterance, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(loss.total, expected.sum(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(loss.parts["intermediate"], (0.5 * (lower + upper)).sum().detach())
    assert set(loss.parts) == {"ctc", "intermediate", "attention"}
    assert loss.count == 4
    assert not any(part.requires_grad for part in [*loss.parts.values(), loss.per_utterance])


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        (LossConfig(), {"ctc", "intermediate"}),
        (LossConfig(intermediate_weight=0.0), {"ctc"}),
        (LossConfig(ctc_weight=0.0), {"attention"}),
    ],
)
def test_a_part_without_weight_is_not_computed(config: LossConfig, parts: set[str]) -> None:
    batch = make_batch()
    assert set(JointLoss(config)(TinyModel()(batch), batch).parts) == parts


@pytest.mark.parametrize("config", [LossConfig(), LossConfig(ctc_weight=0.0), JOINT])
@pytest.mark.parametrize("split", [[[0], [1, 2, 3]], [[0, 3], [2, 1]], [[3], [2], [1], [0]]])
def test_gradient_of_a_step_does_not_depend_on_its_split_into_batches(
    config: LossConfig, split: list[list[int]]
) -> None:
    whole = gradients(config, [make_batch()])
    parts = gradients(config, [rows(make_batch(), keep) for keep in split])
    assert len(whole) > 0
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_two_views_count_as_one_utterance_and_cost_their_mean_and_their_inconsistency() -> None:
    config = JOINT.model_copy(update={"consistency_weight": 0.2})
    batch = make_batch()
    views = replace(rows(batch, [0, 1, 0, 1]), features=batch.features)
    views = replace(views, feature_lens=torch.tensor([9, 6, 9, 6]))
    output = TinyModel()(views)
    assert output.ctc_log_probs is not None
    paired, single = JointLoss(config)(output, views), JointLoss(JOINT)(output, views)
    inconsistency = consistency_loss(output.ctc_log_probs, views.feature_lens)
    expected = 0.5 * single.total + 0.2 * 0.5 * inconsistency.sum()
    torch.testing.assert_close(paired.total, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(paired.parts["ctc"], 0.5 * single.parts["ctc"])
    assert paired.count == 2


def test_the_row_that_cannot_be_aligned_is_visible() -> None:
    batch = make_batch()
    batch = replace(batch, feature_lens=torch.tensor([9, 1, 7, 6]))
    loss = JointLoss(LossConfig())(TinyModel()(batch), batch)
    assert loss.per_utterance.isfinite().tolist() == [True, False, True, True]
    assert loss.total.item() == math.inf


@pytest.mark.parametrize(
    ("config", "has_ctc", "has_decoder", "named"),
    [
        (LossConfig(ctc_weight=1.0), False, False, "no CTC head"),
        (LossConfig(ctc_weight=0.3), True, False, "no decoder"),
        (LossConfig(ctc_weight=0.0), True, True, "has a CTC head"),
        (LossConfig(ctc_weight=1.0), True, True, "has a decoder"),
        (LossConfig(ctc_weight=0.0, consistency_weight=0.2), False, True, "consistency_weight"),
    ],
)
def test_a_loss_that_does_not_fit_the_model_is_refused(
    config: LossConfig, has_ctc: bool, has_decoder: bool, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        config.check(has_ctc=has_ctc, has_decoder=has_decoder)


def test_a_loss_that_fits_the_model_is_accepted() -> None:
    LossConfig(ctc_weight=1.0, consistency_weight=0.2).check(has_ctc=True, has_decoder=False)
    LossConfig(ctc_weight=0.0).check(has_ctc=False, has_decoder=True)
    JOINT.check(has_ctc=True, has_decoder=True)
