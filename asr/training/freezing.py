"""Parts of a model, named as its weights are, and those that are not trained, for ever or for the first steps.

A part is a prefix of names: `encoder`, `encoder.layers.0`, `ctc_head`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import nn

from asr.config import FreezeConfig
from asr.errors import ConfigError
from asr.registry import did_you_mean


class FrozenParts:
    """Takes parameters out of training and lets them back in.

    A frozen parameter gets no gradient, so neither the optimiser's step nor its weight decay touches it, and it has no
    momentum before it learns. Dropout inside frozen parts stays active. ConfigError if a part is unknown, or if nothing
    is left to learn.
    """

    def __init__(self, config: FreezeConfig, model: nn.Module) -> None:
        parameters = dict(model.named_parameters(remove_duplicate=False))  # a tied weight has a name in each place
        frozen = weights_under(config.parts, parameters, key="freeze.parts", model="this model")
        self.parameters = [parameters[name] for name in sorted(frozen)]
        self.steps = config.steps
        ids = {id(parameter) for parameter in self.parameters}
        if all(id(parameter) in ids for parameter in parameters.values()):
            raise ConfigError("freeze.parts: every weight is frozen, nothing is left to learn; name fewer parts")

    def set_for(self, step: int) -> None:
        """Freeze or let learn, as it should be for the step that follows `step` optimiser steps."""
        learns = self.steps is not None and step >= self.steps
        for parameter in self.parameters:
            parameter.requires_grad_(learns)


def is_under(name: str, part: str) -> bool:
    """Whether a weight belongs to a part: `encoder.layers.1` holds `encoder.layers.1.norm.weight`, not layer 10's."""
    return name == part or name.startswith(part + ".")


def weights_under(parts: Iterable[str], names: Collection[str], *, key: str, model: str) -> set[str]:
    """Which of a model's weights belong to one of these parts.

    ConfigError with the nearest part's name for one that no weight belongs to; it calls the setting `key` and the
    model `model`.
    """
    found: set[str] = set()
    for part in parts:
        members = {name for name in names if is_under(name, part)}
        if not members:
            raise ConfigError(f"{key}: '{part}' is no part of {model}{_nearest(part, names)}")
        found |= members
    return found


def _nearest(part: str, names: Collection[str]) -> str:
    """A hint at what was meant, among the neighbours of the first step that leads nowhere."""
    steps = part.split(".")
    parent, neighbours = "", set(names)
    for depth, step in enumerate(steps, start=1):
        known = {".".join(name.split(".")[:depth]) for name in neighbours}
        wanted = f"{parent}.{step}" if parent else step
        if wanted not in known:
            return did_you_mean(wanted, known)
        parent = wanted
        neighbours = {name for name in neighbours if name.startswith(parent + ".")}
    raise AssertionError(f"{part} is a part")
