"""A run that starts from a trained model: which weights it takes over, and which models it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from asr.bundle import Bundle
from asr.config import load_config
from asr.errors import BundleError, ConfigError
from asr.training.prepare import prepare
from asr.training.warm_start import warm_start


def fresh(overrides: Sequence[str] = (), said: list[str] | None = None) -> Bundle:
    """What a run with other random weights than the model's starts from."""
    config = load_config(Path("experiment.yaml"), ["seed=11", *overrides])
    return prepare(config, (said if said is not None else []).append).bundle


def differing(one: Bundle, other: Bundle) -> set[str]:
    """The top-level parts of two models of one shape that have other weights."""
    pairs = zip(one.model.state_dict().items(), other.model.state_dict().values(), strict=True)
    return {name.split(".")[0] for (name, tensor), twin in pairs if not torch.equal(tensor, twin)}


def test_with_the_same_tokens_every_weight_is_the_model_s(workspace: Path) -> None:
    trained = Bundle.load("model")
    assert {"encoder", "decoder", "ctc_head"} <= differing(fresh(), trained)
    said: list[str] = []
    started = fresh(["start_from=model"], said)
    assert differing(started, trained) == set()
    assert said == [f"{sum(weight.numel() for weight in trained.model.parameters()) / 1e6:.2f} M weights from model"]


def test_with_other_tokens_only_the_encoder_is_the_model_s(workspace: Path) -> None:
    trained = Bundle.load("model").model.encoder.state_dict()
    started, cold = (fresh(["tokenizer.name=word", *more]) for more in (["start_from=model"], []))
    assert all(torch.equal(weight, trained[name]) for name, weight in started.model.encoder.state_dict().items())
    assert differing(started, cold) == {"encoder"}


def test_statistics_are_those_of_the_new_data(workspace: Path) -> None:
    started, cold = (fresh(["frontend.cmvn=global", *more]) for more in (["start_from=model"], []))
    for name, statistics in cold.frontend.state_dict().items():
        assert torch.equal(started.frontend.state_dict()[name], statistics)


def test_another_encoder_is_refused_with_the_weight_that_differs(workspace: Path) -> None:
    bundle = fresh(["encoder.ff_dim=32"])
    with pytest.raises(ConfigError, match=r"start_from: model has another encoder: 'encoder\..*' is .*32.* and not"):
        warm_start(bundle, Path("model"))


def test_a_folder_without_a_model_is_refused(workspace: Path) -> None:
    with pytest.raises(BundleError, match="nowhere: no such model folder"):
        fresh(["start_from=nowhere"])
