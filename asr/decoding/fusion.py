"""Shallow fusion: the scores of language models and hotwords are added to those of the acoustic model.

Shallow fusion is Gulcehre et al. 2015, "On using monolingual corpora in neural machine translation", section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from asr.errors import ConfigError
from asr.lm.base import TokenScorer
from asr.registry import NamedConfig
from asr.text.vocabulary import Vocabulary


class BeamConfig(NamedConfig):
    """Settings that all beam searches share; weights multiply natural logarithms."""

    beam: PositiveInt = 10  # hypotheses that survive a step
    lm_weight: float = Field(0.5, ge=0.0)  # of the language model, if there is one
    length_bonus: float = 0.0  # added for every token; above 0 favours longer texts
    unk_score: float = Field(-10.0, le=0.0)  # added, before lm_weight, for a word that a word language model lacks


@dataclass(frozen=True)
class Fusion:
    """The scorers of text that a search may add to the model."""

    lm: TokenScorer | None = None
    hotwords: TokenScorer | None = None  # its weight is in its scores

    def refuse(self, search: str) -> None:
        """ConfigError if there is any scorer: `search` follows the model alone."""
        if self.lm is not None or self.hotwords is not None:
            what = "language model" if self.lm is not None else "hotwords"
            raise ConfigError(f"search '{search}' cannot use a {what}; use --search ctc_prefix_beam or joint_beam")


NO_FUSION = Fusion()
MIX = 1000003  # joins small numbers to one; two that clash by chance do little harm


class FusedScorer:
    """The scorers of a fusion that have weight, asked together. All of it is empty where there are none.

    They know text alone: tokens that write none, as timestamps, cost nothing and change nothing. So where a vocabulary
    has such, a state is the scorers' before the last token of text, that after it, and that token.
    """

    def __init__(self, fusion: Fusion, lm_weight: float, vocabulary: Vocabulary) -> None:
        self._scorers: list[tuple[str, float, TokenScorer]] = []
        if fusion.lm is not None and lm_weight > 0.0:
            self._scorers.append(("lm", lm_weight, fusion.lm))
        if fusion.hotwords is not None:
            self._scorers.append(("hotwords", 1.0, fusion.hotwords))
        self.names = tuple(name for name, _, _ in self._scorers)  # the parts of a hypothesis' score
        self.start, self.end = vocabulary.start, vocabulary.end
        self._textless = torch.zeros(len(vocabulary), dtype=torch.bool)
        self._textless[sorted(vocabulary.control - vocabulary.roles)] = True
        self._has_textless = bool(self._textless.any()) and bool(self._scorers)

    def init_state(self, num_rows: int, device: torch.device) -> tuple[Any, ...]:
        """The state before the start of so many rows."""
        state = tuple(scorer.init_state(num_rows, device) for _, _, scorer in self._scorers)
        if not self._has_textless:
            return state
        return (state, state, torch.full((num_rows,), self.start, device=device))

    def step(self, tokens: Tensor, state: tuple[Any, ...]) -> tuple[list[Tensor], tuple[Any, ...]]:
        """Feed each row's last token (N,), `start` first; weighted scores (N, V) for each name, and the state after."""
        if not self._has_textless:
            return self._step(tokens, state)
        textless = self._textless.to(tokens.device)
        is_textless = textless[tokens]
        before, after, last = state
        rows = torch.arange(len(tokens), device=tokens.device)
        reached = self._reorder(self._concat(before, after), rows + len(tokens) * (~is_textless).long())
        read = torch.where(is_textless, last, tokens)
        scores, new = self._step(read, reached)
        return [own.masked_fill(textless, 0.0) for own in scores], (reached, new, read)

    def _step(self, tokens: Tensor, state: tuple[Any, ...]) -> tuple[list[Tensor], tuple[Any, ...]]:
        scores, states = [], []
        for (_, weight, scorer), old in zip(self._scorers, state, strict=True):
            raw, new = scorer.step(tokens, old)
            scores.append(weight * raw)
            states.append(new)
        return scores, tuple(states)

    def futures(self, state: tuple[Any, ...]) -> Tensor | None:
        """Numbers (N, V) int64, equal where all scorers have the same future; None if one of them cannot tell."""
        joined: Tensor | None = None
        for (_, _, scorer), old in zip(self._scorers, state, strict=True):
            tell = getattr(scorer, "futures", None)
            if tell is None or self._has_textless:
                return None
            joined = tell(old) if joined is None else joined * MIX + tell(old)
        return joined

    def reorder(self, state: tuple[Any, ...], index: Tensor) -> tuple[Any, ...]:
        """The state of the rows `index` (M,)."""
        if not self._has_textless:
            return self._reorder(state, index)
        return self._reorder(state[0], index), self._reorder(state[1], index), state[2][index]

    def concat(self, first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...]:
        """The rows of two states in one."""
        if not self._has_textless:
            return self._concat(first, second)
        parts = (self._concat(one, other) for one, other in zip(first[:2], second[:2], strict=True))
        return *parts, torch.cat([first[2], second[2]])

    def _reorder(self, state: tuple[Any, ...], index: Tensor) -> tuple[Any, ...]:
        return tuple(scorer.reorder(old, index) for (_, _, scorer), old in zip(self._scorers, state, strict=True))

    def _concat(self, first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...]:
        pairs = zip(self._scorers, first, second, strict=True)
        return tuple(scorer.concat(one, other) for (_, _, scorer), one, other in pairs)
