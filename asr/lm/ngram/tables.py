"""A model's arcs as sorted tensors, which answer for many histories and words at once, on any device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.lm.ngram.model import NgramModel


class Found(NamedTuple):
    """The result of a look-up, in the shape of the query."""

    log_probs: Tensor  # float64, log p(word | history)
    states: Tensor  # int64, the history after the word


@dataclass(frozen=True)
class ArcTable:
    """All arcs of a model."""

    keys: Tensor  # int64 (num_arcs,), ascending: state * num_words + word id
    log_probs: Tensor  # float32 (num_arcs,)
    targets: Tensor  # int32 (num_arcs,)
    backoffs: Tensor  # float32 (num_states,)
    shorter: Tensor  # int32 (num_states,)
    num_words: int
    order: int

    @classmethod
    def of(cls, model: NgramModel) -> ArcTable:
        """The arcs of this model, on the CPU."""
        states = np.repeat(np.arange(model.num_states), np.diff(model.begins))
        return cls(
            keys=torch.from_numpy(states * len(model.words) + model.labels),
            log_probs=torch.from_numpy(model.log_probs),
            targets=torch.from_numpy(model.targets),
            backoffs=torch.from_numpy(model.backoffs),
            shorter=torch.from_numpy(model.shorter),
            num_words=len(model.words),
            order=model.order,
        )

    def to(self, device: torch.device) -> ArcTable:
        """The same arcs on another device."""
        return replace(
            self,
            keys=self.keys.to(device),
            log_probs=self.log_probs.to(device),
            targets=self.targets.to(device),
            backoffs=self.backoffs.to(device),
            shorter=self.shorter.to(device),
        )

    def look_up(self, states: Tensor, words: Tensor) -> Found:
        """Score words after histories, both int64 of the same shape, backing off as far as each of them needs."""
        log_probs = torch.zeros(states.shape, dtype=torch.float64, device=states.device)
        targets = torch.zeros_like(states)
        pending = torch.ones_like(states, dtype=torch.bool)
        for _ in range(self.order):  # no history has more than order - 1 words, and the empty one has every arc
            keys = states * self.num_words + words
            arcs = torch.searchsorted(self.keys, keys).clamp_max(len(self.keys) - 1)
            found = pending & (self.keys[arcs] == keys)
            log_probs = log_probs + torch.where(found, self.log_probs[arcs], 0.0)
            targets = torch.where(found, self.targets[arcs].long(), targets)
            pending = pending & ~found
            log_probs = log_probs + torch.where(pending, self.backoffs[states], 0.0)
            states = self.shorter[states].long()
        return Found(log_probs, targets)
