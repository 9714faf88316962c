"""Which parameters are decayed, and that steps are those of torch's plain optimisers."""

from __future__ import annotations

import copy

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from asr.errors import ConfigError
from asr.optim.optimizers import OptimizerConfig, build_optimizer
from asr.optim.optimizers.adamw import AdamWConfig
from asr.optim.optimizers.base import CommonConfig, lr_factors
from asr.optim.optimizers.sgd import SgdConfig


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.norm = nn.LayerNorm(4)
        self.embedding = nn.Embedding(5, 4)
        self.output = nn.Linear(4, 5)
        self.output.weight = self.embedding.weight  # tied: an embedding wherever it is used
        self.position_bias = nn.Parameter(torch.zeros(2, 4))
        self.lstm = nn.LSTM(4, 4)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_only_weight_matrices_are_decayed() -> None:
    model = Model()
    decayed, kept = build_optimizer(AdamWConfig(weight_decay=0.1), model).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {names[id(parameter)] for parameter in decayed["params"]} == {
        "linear.weight",
        "lstm.weight_ih_l0",
        "lstm.weight_hh_l0",
    }
    assert {names[id(parameter)] for parameter in kept["params"]} == {
        "linear.bias",
        "norm.weight",
        "norm.bias",
        "embedding.weight",
        "output.bias",
        "position_bias",
        "lstm.bias_ih_l0",
        "lstm.bias_hh_l0",
    }
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)


def test_all_that_learns_is_decayed_where_asked_for() -> None:
    model = Model()
    decayed, kept = build_optimizer(AdamWConfig(weight_decay=0.1, decay_all=True), model).param_groups
    assert {id(parameter) for parameter in decayed["params"]} == {
        id(parameter) for parameter in model.parameters() if parameter.requires_grad
    }
    assert not kept["params"]


def test_steps_equal_those_of_torchs_plain_adamw() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 4).double()
    reference = copy.deepcopy(model)
    config = AdamWConfig(lr=0.01, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.1)
    ours = build_optimizer(config, model)
    theirs = torch.optim.AdamW(
        [{"params": [reference.weight]}, {"params": [reference.bias], "weight_decay": 0.0}],
        lr=0.01,
        betas=(0.8, 0.9),
        eps=1e-6,
        weight_decay=0.1,
        foreach=False,
    )
    for inputs in torch.randn(5, 6, 3, dtype=torch.float64):
        for network, optimizer in ((model, ours), (reference, theirs)):
            optimizer.zero_grad()
            network(inputs).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(model.weight, reference.weight, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model.bias, reference.bias, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.8, False), (0.8, True)])
def test_steps_equal_those_of_torchs_plain_sgd(momentum: float, nesterov: bool) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 4).double()
    reference = copy.deepcopy(model)
    ours = build_optimizer(SgdConfig(lr=0.01, momentum=momentum, nesterov=nesterov, weight_decay=0.1), model)
    theirs = torch.optim.SGD(
        [{"params": [reference.weight], "weight_decay": 0.1}, {"params": [reference.bias]}],
        lr=0.01,
        momentum=momentum,
        nesterov=nesterov,
        foreach=False,
    )
    for inputs in torch.randn(5, 6, 3, dtype=torch.float64):
        for network, optimizer in ((model, ours), (reference, theirs)):
            optimizer.zero_grad()
            network(inputs).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(model.weight, reference.weight, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model.bias, reference.bias, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, AdamWConfig()),
        ({"lr": 0.5}, AdamWConfig(lr=0.5)),
        ({"name": "adamw", "lr": 0.5}, AdamWConfig(lr=0.5)),
        ({"name": "sgd", "momentum": 0.5}, SgdConfig(momentum=0.5)),
    ],
)
def test_settings_without_a_name_are_those_of_adamw(settings: dict[str, object], expected: CommonConfig) -> None:
    assert TypeAdapter(OptimizerConfig).validate_python(settings) == expected


class Layered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.front = nn.Linear(2, 2)
        self.encoder.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
        self.encoder.norm = nn.LayerNorm(2)
        self.heads = nn.Linear(2, 2)


def test_lower_layers_learn_slower_and_the_innermost_part_counts() -> None:
    names = [name for name, _ in Layered().named_parameters() if name.endswith("weight")]
    config = AdamWConfig(lr=0.5, layer_decay=0.5, lr_scale={"encoder": 0.1, "encoder.layers.1": 1.0})
    assert lr_factors(config, names) == pytest.approx(
        {
            "encoder.front.weight": 0.1 * 0.125,
            "encoder.layers.0.weight": 0.1 * 0.25,
            "encoder.layers.1.weight": 0.5,
            "encoder.layers.2.weight": 0.1,
            "encoder.norm.weight": 0.1,
            "heads.weight": 1.0,
        }
    )
    model = Layered()
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    optimizer = build_optimizer(AdamWConfig(lr=0.5, lr_scale={"encoder": 0.1}, weight_decay=0.0), model)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    moved = {name: (before[name] - weight).abs().max().item() for name, weight in model.named_parameters()}
    assert moved["encoder.front.weight"] == pytest.approx(0.05)
    assert moved["heads.weight"] == pytest.approx(0.5)
    with pytest.raises(ConfigError, match=r"lr_scale: 'encodr' is no part of the model; did you mean 'encoder'"):
        build_optimizer(AdamWConfig(lr_scale={"encodr": 0.1}), model)
