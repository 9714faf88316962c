"""Every configuration of every recipe is valid, and its model learns from a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asr.config import load_config
from asr.decoding.base import build_search
from asr.features.frontend import Frontend
from asr.losses.joint import JointLoss
from asr.models.asr_model import build_model
from asr.optim.optimizer import build_optimizer
from asr.types import Batch

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
CONFIGS = sorted(RECIPES.glob("*/conf/**/*.yaml"))
VOCAB_SIZE = 40


def test_there_are_configurations_for_every_recipe() -> None:
    assert {path.relative_to(RECIPES).parts[0] for path in CONFIGS} == {
        path.parent.name for path in RECIPES.glob("*/prepare.py")
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(RECIPES)))
def test_a_configuration_makes_one_step(path: Path) -> None:
    config = load_config(path)
    num_features = Frontend(config.frontend).num_features
    model = build_model(config.model, num_features, VOCAB_SIZE)
    build_search(config.search, model)
    features = torch.randn(4, 120, num_features)
    tokens = torch.randint(4, VOCAB_SIZE, (2, 5)).repeat(2, 1)  # two views of two utterances, as CR-CTC needs them
    lens = torch.tensor([120, 97, 120, 97])
    batch = Batch(("a", "b", "a", "b"), features, lens, tokens, torch.tensor([5, 3, 5, 3]))
    optimizer = build_optimizer(config.optimizer, model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loss = JointLoss(config.loss)(model(batch), batch).total
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert any(not torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
