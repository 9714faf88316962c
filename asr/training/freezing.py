"""Parts of a model that keep the weights they begin with, for ever or for the first steps."""

from __future__ import annotations

from torch import nn

from asr.config import FreezeConfig
from asr.errors import ConfigError
from asr.training.parts import weights_under


class FrozenParts:
    """Takes parameters out of training and lets them back in.

    A frozen parameter gets no gradient, so neither the optimiser's step nor its weight decay touches it, and none of
    its momentum is there before it learns. Dropout inside frozen parts goes on. ConfigError if a part is unknown, or
    if nothing is left to learn.
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
