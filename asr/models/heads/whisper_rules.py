"""What Whisper must not write: a filter for searches over its decoder (Radford et al. 2022, section 4.5)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from asr.text.vocabulary import Vocabulary


class WhisperRules:
    """A `TokenFilter` for texts without timestamps.

    Ids of `suppress` and control ids but the end never come, those of `suppress_first` do not come first, and a text
    of `max_tokens` tokens, its prompt included, ends.
    """

    def __init__(
        self, vocabulary: Vocabulary, suppress: Sequence[int], suppress_first: Sequence[int], max_tokens: int
    ) -> None:
        self._end = vocabulary.end
        self._max_tokens = max_tokens
        self._never = _mask(len(vocabulary), (vocabulary.control | set(suppress)) - {vocabulary.end})
        self._not_first = _mask(len(vocabulary), suppress_first)

    def __call__(self, log_probs: Tensor, tokens: Tensor, prompt_lens: Tensor, rows: Tensor) -> Tensor:
        never, not_first = (mask.to(log_probs.device) for mask in (self._never, self._not_first))
        is_first = prompt_lens == tokens.shape[1]
        forbidden = never | (not_first & is_first[:, None])
        if tokens.shape[1] >= self._max_tokens:
            forbidden = torch.ones_like(log_probs, dtype=torch.bool)
            forbidden[:, self._end] = False
        return log_probs.masked_fill(forbidden, -math.inf)


def _mask(size: int, ids: Sequence[int] | frozenset[int] | set[int]) -> Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[sorted(ids)] = True
    return mask
