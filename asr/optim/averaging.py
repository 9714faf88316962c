"""Averages of weights: an exponential moving one during training, a plain one over checkpoints afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from asr.errors import BundleError


class Ema:
    """Exponential moving average of a model's parameters and buffers; entries that are not floating point are copied.

    The n-th update keeps the share min(decay, (1 + n) / (10 + n)), so that the random start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        assert 0.0 <= decay < 1.0, f"decay {decay} is not in [0, 1)"
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        device = next(iter(self.weights.values())).device
        self.num_updates = torch.zeros((), dtype=torch.int64, device=device)

    @torch.no_grad()
    def update(self, model: nn.Module, is_skipped: Tensor | None = None) -> None:
        """Move the average towards the model's weights; call it once after every optimiser step.

        Where `is_skipped` () is 1 the average stays as it is. The host does not wait for it.
        """
        taken = 1 if is_skipped is None else 1 - is_skipped.long()
        self.num_updates += taken
        num_updates = self.num_updates.double()
        moved = taken * (1.0 - ((1.0 + num_updates) / (10.0 + num_updates)).clamp(max=self.decay))
        shares = {dtype: moved.to(dtype) for dtype in {value.dtype for value in self.weights.values()}}
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, shares[value.dtype])
            else:
                self.weights[name].copy_(value)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Within the block the model has the averaged weights; afterwards its own, bit for bit."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.weights)
        try:
            yield
        finally:
            model.load_state_dict(own)

    def state_dict(self) -> dict[str, Tensor]:
        """The state to resume from, as a flat dictionary of tensors: `num_updates` and `weights.<name>`."""
        weights = {f"weights.{name}": value for name, value in self.weights.items()}
        return {"num_updates": self.num_updates, **weights}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Resume from `state_dict()` of an average of the same model; KeyError if an entry is missing."""
        self.num_updates.copy_(state["num_updates"])
        for name, value in self.weights.items():
            value.copy_(state[f"weights.{name}"])


def average_states(states: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of state dictionaries, taken one at a time, summed in float64 and returned in each entry's own dtype.

    Entries that are not floating point come from the first. BundleError if there is no state or one does not fit.
    """
    first: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}
    count = 0
    for state in states:
        count += 1
        if count == 1:
            first = dict(state)
            averaged = {name: value for name, value in first.items() if value.is_floating_point()}
            sums = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in averaged.items()}
        elif _shapes(state) != _shapes(first):
            raise BundleError(f"weights number {count} have other names or shapes than the first; average one run's")
        for name, total in sums.items():
            total += state[name]
    if not count:
        raise BundleError("there are no weights to average")
    return {name: (sums[name] / count).to(value.dtype) if name in sums else value for name, value in first.items()}


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}
