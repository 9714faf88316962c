"""Every configuration of every recipe is valid, and its model learns from a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from asr.config import Experiment, load_experiment, load_lm_experiment
from asr.data.sentences import SentenceBatch
from asr.decoding.base import build_search
from asr.experiments.loss import batch_loss
from asr.features import build_frontend
from asr.lm.neural import build_language_model
from asr.losses.label_smoothing import label_smoothing_loss
from asr.models.asr_model import AsrModel, build_model
from asr.optim.optimizers import OptimizerConfig, build_optimizer
from asr.registry import NamedConfig
from asr.types import Batch
from tests.tiny_models import EOS, vocabulary_of

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
    num_features = build_frontend(config.frontend).num_features
    with torch.device("meta"):  # all of it, without the time it takes to fill
        assert sum(weight.numel() for weight in build(config, num_features).parameters()) > 1e5
    model = build(shallow(config), num_features)
    build_search(config.search, model.heads)
    features = torch.randn(4, 120, num_features)
    tokens = torch.randint(4, VOCAB_SIZE, (2, 5)).repeat(2, 1)  # two views of two utterances, as CR-CTC needs them
    lens = torch.tensor([120, 97, 120, 97])
    batch = Batch(("a", "b", "a", "b"), features, lens, tokens, torch.tensor([5, 3, 5, 3]), num_views=2)
    assert_step_changes_weights(config.optimizer, model, batch_loss(model, batch, config.loss).total)


def build(config: Experiment, num_features: int) -> AsrModel:
    return build_model(config.encoder, config.heads, num_features, {"main": vocabulary_of(VOCAB_SIZE)})


def shallow(config: Experiment) -> Experiment:
    """The same model with at most two layers in each stack, which makes a step quick."""

    def cut(part: NamedConfig) -> NamedConfig:
        settings = part.model_dump()
        settings |= {"num_layers": min(2, settings["num_layers"])} if "num_layers" in settings else {}
        settings |= {"intermediate": {"layers": (1,)}} if settings.get("intermediate") else {}
        return type(part).model_validate(settings)

    return config.model_copy(update={"encoder": cut(config.encoder), "heads": tuple(map(cut, config.heads))})


def test_there_are_configurations_of_language_models() -> None:
    assert len(LM_CONFIGS) >= 2


@pytest.mark.parametrize("path", LM_CONFIGS, ids=lambda path: str(path.relative_to(RECIPES)))
def test_a_configuration_of_a_language_model_makes_one_step(path: Path) -> None:
    config = load_lm_experiment(path)
    assert (RECIPES.parent / config.model).is_dir()
    model = build_language_model(config.language_model, vocabulary_of(VOCAB_SIZE))
    batch = SentenceBatch(("a", "b"), torch.randint(4, VOCAB_SIZE, (2, 5)), torch.tensor([5, 3]), 10)
    log_probs = model(batch.tokens, batch.token_lens)
    loss = label_smoothing_loss(log_probs, batch.tokens, batch.token_lens, 0.0, eos=EOS).sum()
    assert_step_changes_weights(config.optimizer, model, loss)


def assert_step_changes_weights(config: OptimizerConfig, model: nn.Module, loss: Tensor) -> None:
    optimizer = build_optimizer(config, model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert any(not torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
