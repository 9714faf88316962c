"""Averages of weights against their definitions; swapping in and out leaves no trace."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from asr.errors import BundleError
from asr.optim.averaging import Ema, average_states


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))  # BatchNorm has an integer buffer


def randomise(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_ema_follows_its_formula() -> None:
    model = make_model().double()
    average = Ema(model, decay=0.3)
    expected = model[0].weight.detach().clone()
    for count in range(1, 6):
        randomise(model)
        average.update(model)
        kept = min(0.3, (1 + count) / (10 + count))
        expected = kept * expected + (1 - kept) * model[0].weight.detach()
    torch.testing.assert_close(average.weights["0.weight"], expected, rtol=1e-12, atol=1e-12)


def test_integer_buffers_are_copied_by_ema() -> None:
    model = make_model()
    average = Ema(model, decay=0.9)
    model(torch.randn(2, 3))
    average.update(model)
    assert average.weights["1.num_batches_tracked"] == 1


def test_weights_are_swapped_in_and_back_bit_for_bit() -> None:
    model = make_model()
    average = Ema(model, decay=0.9)
    randomise(model)
    average.update(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    averaged = {name: value.clone() for name, value in average.weights.items()}
    with average.applied(model):
        assert same(dict(model.state_dict()), averaged)
        randomise(model)
    assert same(dict(model.state_dict()), before)
    assert same(average.weights, averaged)


def test_an_error_while_averaged_weights_are_in_brings_the_own_back() -> None:
    model = make_model()
    average = Ema(model, decay=0.9)
    randomise(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError), average.applied(model):
        raise RuntimeError
    assert same(dict(model.state_dict()), before)


def test_ema_goes_on_from_its_state_as_if_never_interrupted() -> None:
    model = make_model()
    whole = Ema(model, decay=0.99)
    resumed = Ema(make_model(), decay=0.99)
    for count in range(6):
        if count == 3:
            resumed.load_state_dict({name: value.clone() for name, value in whole.state_dict().items()})
        randomise(model)
        whole.update(model)
        if count >= 3:
            resumed.update(model)
    assert same(whole.state_dict(), resumed.state_dict())


def test_average_is_the_mean_taken_in_double_precision() -> None:
    states = [{"weight": torch.tensor([value], dtype=torch.bfloat16)} for value in (256.0, 1.0, 1.0, 1.0, 1.0)]
    averaged = average_states(iter(states))["weight"]
    assert averaged.dtype == torch.bfloat16
    assert averaged.item() == 52.0  # summed in bfloat16, 256 + 1 would stay 256
    assert states[0]["weight"].item() == 256.0


def test_integers_of_the_first_state_are_kept() -> None:
    states = [{"steps": torch.tensor(3), "weight": torch.ones(2)}, {"steps": torch.tensor(8), "weight": torch.zeros(2)}]
    averaged = average_states(states)
    assert averaged["steps"].item() == 3
    assert averaged["weight"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("other", [{"bias": torch.ones(2)}, {"weight": torch.ones(3)}, {}])
def test_states_that_do_not_fit_each_other_are_refused(other: dict[str, Tensor]) -> None:
    with pytest.raises(BundleError, match="number 2"):
        average_states([{"weight": torch.ones(2)}, other])


def test_the_average_of_nothing_is_refused() -> None:
    with pytest.raises(BundleError, match="no weights"):
        average_states([])
