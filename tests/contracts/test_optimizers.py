"""Promises of every registered optimiser to the step, to checkpoints and to estimates of memory."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from asr.optim.optimizers import OPTIMIZERS, Optimizer, build_optimizer

FALSE, TRUE = torch.zeros(()), torch.ones(())

each = pytest.mark.parametrize("name", OPTIMIZERS.names())


class NumberReadError(Exception):
    """The host asked for a tensor's value."""


class RefuseReads(TorchDispatchMode):
    """Raises where a GPU would have to be waited for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            raise NumberReadError
        return func(*args, **(kwargs or {}))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1))


def optimizer_for(name: str, model: nn.Module) -> Optimizer:
    config = OPTIMIZERS.config(name).model_validate({"lr": 0.05, "weight_decay": 0.1})
    return build_optimizer(config, model)


def step(model: nn.Module, optimizer: Optimizer, inputs: Tensor, is_skipped: Tensor = FALSE, lr: float = 0.05) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    model(inputs).square().sum().backward()
    optimizer.step_unless(is_skipped)


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for (name, value), expected in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(value, expected), name


@each
def test_steps_make_the_loss_smaller_and_follow_the_learning_rate(name: str) -> None:
    model = network()
    optimizer, inputs = optimizer_for(name, model), torch.randn(6, 3)
    before = float(model(inputs).detach().square().sum())
    for _ in range(30):
        step(model, optimizer, inputs, lr=0.005)
    assert float(model(inputs).detach().square().sum()) < before
    stopped = copy.deepcopy(model)
    step(model, optimizer, inputs, lr=0.0)
    assert_same(model, stopped)


@each
@pytest.mark.parametrize("number", [0, 3])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1.0])
def test_a_skipped_step_is_as_if_it_had_not_been(name: str, number: int, value: float) -> None:
    model, other = network(), network()
    optimizer, same = optimizer_for(name, model), optimizer_for(name, other)
    batches = torch.randn(6, 5, 3)
    for place, inputs in enumerate(batches):
        if place == number:
            before = {key: tensor.clone() for key, tensor in optimizer.state_tensors().items()}
            step(model, optimizer, torch.full((5, 3), value), TRUE)
            after = optimizer.state_tensors()
            assert all(torch.equal(after[key], tensor) for key, tensor in before.items())
            assert_same(model, other)
        step(model, optimizer, inputs)
        step(other, same, inputs)
    assert_same(model, other)
    for key, tensor in optimizer.state_tensors().items():
        assert torch.equal(tensor, same.state_tensors()[key]), key


@each
def test_state_that_is_saved_and_loaded_goes_on_to_the_last_bit(name: str) -> None:
    model = network()
    optimizer = optimizer_for(name, model)
    for inputs in torch.randn(3, 5, 3):
        step(model, optimizer, inputs)
    other = copy.deepcopy(model)
    resumed = optimizer_for(name, other)
    tensors = optimizer.state_tensors()
    assert all(isinstance(tensor, Tensor) for tensor in tensors.values())
    resumed.load_state_tensors({key: tensor.clone() for key, tensor in tensors.items()})
    for inputs in torch.randn(3, 5, 3):
        step(model, optimizer, inputs)
        step(other, resumed, inputs)
    assert_same(model, other)


@each
@pytest.mark.parametrize("is_skipped", [FALSE, TRUE])
def test_the_host_reads_nothing(name: str, is_skipped: Tensor) -> None:
    model = network()
    optimizer = optimizer_for(name, model)
    with RefuseReads():
        with pytest.raises(NumberReadError):
            float(torch.ones(()))
        step(model, optimizer, torch.randn(5, 3), is_skipped)


@each
def test_the_state_is_as_large_as_the_configuration_says(name: str) -> None:
    model = network()
    optimizer = optimizer_for(name, model)
    step(model, optimizer, torch.randn(5, 3))
    num_weights = sum(parameter.numel() for parameter in model.parameters())
    numbers = sum(tensor.numel() for tensor in optimizer.state_tensors().values() if tensor.dim())
    config = OPTIMIZERS.config(name).model_validate({})
    assert numbers == config.state_per_weight * num_weights


@each
def test_parameters_without_a_gradient_stay(name: str) -> None:
    model = network()
    optimizer, before = optimizer_for(name, model), copy.deepcopy(model)
    model[0].requires_grad_(False)
    for inputs in torch.randn(2, 5, 3):
        step(model, optimizer, inputs)
    assert_same(model[0], before[0])
    assert not torch.equal(model[2].weight, before[2].weight)
