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
    """The scorers of a fusion that have weight, asked together. All of it is empty where there are none."""

    def __init__(self, fusion: Fusion, lm_weight: float, vocabulary: Vocabulary) -> None:
        self._scorers: list[tuple[str, float, TokenScorer]] = []
        if fusion.lm is not None and lm_weight > 0.0:
            self._scorers.append(("lm", lm_weight, fusion.lm))
        if fusion.hotwords is not None:
            self._scorers.append(("hotwords", 1.0, fusion.hotwords))
        self.names = tuple(name for name, _, _ in self._scorers)  # the parts of a hypothesis' score
        self.start, self.end = vocabulary.start, vocabulary.end

    def init_state(self, num_rows: int, device: torch.device) -> tuple[Any, ...]:
        """The state before the start of so many rows."""
        return tuple(scorer.init_state(num_rows, device) for _, _, scorer in self._scorers)

    def step(self, tokens: Tensor, state: tuple[Any, ...]) -> tuple[list[Tensor], tuple[Any, ...]]:
        """Feed each row's last token (N,), `start` first; weighted scores (N, V) for each name, and the state after."""
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
            if tell is None:
                return None
            joined = tell(old) if joined is None else joined * MIX + tell(old)
        return joined

    def reorder(self, state: tuple[Any, ...], index: Tensor) -> tuple[Any, ...]:
        """The state of the rows `index` (M,)."""
        return tuple(scorer.reorder(old, index) for (_, _, scorer), old in zip(self._scorers, state, strict=True))

    def concat(self, first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...]:
        """The rows of two states in one."""
        pairs = zip(self._scorers, first, second, strict=True)
        return tuple(scorer.concat(one, other) for (_, _, scorer), one, other in pairs)
