"""Every configuration of every recipe is valid, and its model learns from a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from asr.losses.joint import JointLoss
from torch import Tensor, nn

from asr.config import load_experiment, load_lm_experiment
from asr.data.sentences import SentenceBatch
from asr.decoding.base import build_search
from asr.features.frontend import Frontend
from asr.lm.neural import build_language_model
from asr.losses.label_smoothing import label_smoothing_loss
from asr.models.asr_model import ModelConfig, build_model
from asr.optim.optimizer import OptimizerConfig, build_optimizer
from asr.types import Batch

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
LM_CONFIGS = sorted(RECIPES.glob("*/conf/**/lm_*.yaml"))
CONFIGS = sorted(set(RECIPES.glob("*/conf/**/*.yaml")) - set(LM_CONFIGS))
VOCAB_SIZE = 40


def test_there_are_configurations_for_every_recipe() -> None:
    assert {path.relative_to(RECIPES).parts[0] for path in CONFIGS} == {
        path.parent.name for path in RECIPES.glob("*/prepare.py")
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(RECIPES)))
def test_a_configuration_makes_one_step(path: Path) -> None:
    config = load_experiment(path)
    num_features = Frontend(config.frontend).num_features
    with torch.device("meta"):  # all of it, without the time it takes to fill
        assert sum(weight.numel() for weight in build_model(config.model, num_features, VOCAB_SIZE).parameters()) > 1e5
    model = build_model(shallow(config.model), num_features, VOCAB_SIZE)
    build_search(config.search, model)
    features = torch.randn(4, 120, num_features)
    tokens = torch.randint(4, VOCAB_SIZE, (2, 5)).repeat(2, 1)  # two views of two utterances, as CR-CTC needs them
    lens = torch.tensor([120, 97, 120, 97])
    batch = Batch(("a", "b", "a", "b"), features, lens, tokens, torch.tensor([5, 3, 5, 3]))
    assert_step_changes_weights(config.optimizer, model, JointLoss(config.loss)(model(batch), batch).total)


def shallow(config: ModelConfig) -> ModelConfig:
    """The same model with at most two layers in each stack, which makes a step quick."""
    encoder, decoder, intermediate = config.encoder, config.decoder, config.intermediate_ctc
    parts = {
        "encoder": encoder.model_copy(update={"num_layers": min(2, encoder.num_layers)}),
        "decoder": decoder and decoder.model_copy(update={"num_layers": min(2, decoder.num_layers)}),
        "intermediate_ctc": intermediate and intermediate.model_copy(update={"layers": (1,)}),
    }
    return config.model_copy(update=parts)


def test_there_are_configurations_of_language_models() -> None:
    assert len(LM_CONFIGS) >= 2


@pytest.mark.parametrize("path", LM_CONFIGS, ids=lambda path: str(path.relative_to(RECIPES)))
def test_a_configuration_of_a_language_model_makes_one_step(path: Path) -> None:
    config = load_lm_experiment(path)
    assert (RECIPES.parent / config.model).is_dir()
    model = build_language_model(config.language_model, VOCAB_SIZE)
    batch = SentenceBatch(("a", "b"), torch.randint(4, VOCAB_SIZE, (2, 5)), torch.tensor([5, 3]), 10)
    log_probs = model(batch.tokens, batch.token_lens)
    loss = label_smoothing_loss(log_probs, batch.tokens, batch.token_lens, 0.0).sum()
    assert_step_changes_weights(config.optimizer, model, loss)


def assert_step_changes_weights(config: OptimizerConfig, model: nn.Module, loss: Tensor) -> None:
    optimizer = build_optimizer(config, model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert any(not torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
