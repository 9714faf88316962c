"""N-best rescoring: a search proposes whole hypotheses, a language model, which knows only text, helps to rank them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from asr.decoding.base import AnySearch, Prompt, Search, SearchState
from asr.lm.base import TokenScorer
from asr.text.vocabulary import Vocabulary
from asr.types import EncoderOutput, Hypothesis


@dataclass(frozen=True)
class RescoredState(SearchState):
    """The state of the other search, and the device where the language model is to run."""

    inner: Any
    device: torch.device

    def select(self, index: Tensor) -> RescoredState:
        """See `SearchState`."""
        return replace(self, inner=self.inner.select(index))

    @staticmethod
    def join(states: Sequence[RescoredState]) -> RescoredState:
        """See `SearchState`."""
        first = states[0]
        return replace(first, inner=first.inner.join([state.inner for state in states]))


class LmRescored(Search[RescoredState]):
    """Another search, whose n-best lists are sorted anew once a language model has scored them.

    The part "lm" of a hypothesis becomes `weight` times the log-probability of its tokens and their end, in place of
    what the search itself may have had there; the other parts stay.
    """

    def __init__(self, searcher: AnySearch, lm: TokenScorer, weight: float) -> None:
        self.searcher = searcher
        self.vocabulary = searcher.vocabulary
        self.fallback = searcher.fallback
        self.before = searcher.before
        self.lm = lm
        self.weight = weight

    def start(
        self, rows: int, prompts: Sequence[Prompt | None] | None = None, device: torch.device | str = "cpu"
    ) -> RescoredState:
        """See `Search`."""
        return RescoredState(self.searcher.start(rows, prompts, device), torch.device(device))

    def advance(self, state: RescoredState, encoded: EncoderOutput) -> RescoredState:
        """See `Search`."""
        return replace(state, inner=self.searcher.advance(state.inner, encoded))

    def partial(self, state: RescoredState) -> list[tuple[int, ...]]:
        """The best tokens so far of the other search, which the language model has not scored."""
        return self.searcher.partial(state.inner)

    def finish(self, state: RescoredState) -> list[list[Hypothesis]]:
        """The n-best lists of the other search, rescored, best first; equals keep their order."""
        n_best_lists = self.searcher.finish(state.inner)
        sentences = [hypothesis.tokens for n_best in n_best_lists for hypothesis in n_best]
        scores = iter(sentence_scores(self.lm, sentences, self.vocabulary, state.device))
        rescored = [[self._rescore(hypothesis, next(scores)) for hypothesis in n_best] for n_best in n_best_lists]
        return [sorted(n_best, key=lambda hypothesis: -hypothesis.score) for n_best in rescored]

    def _rescore(self, hypothesis: Hypothesis, lm_score: float) -> Hypothesis:
        parts = hypothesis.parts | {"lm": self.weight * lm_score}
        score = hypothesis.score - hypothesis.parts.get("lm", 0.0) + parts["lm"]
        return replace(hypothesis, score=score, parts=parts)


def sentence_scores(
    lm: TokenScorer, sentences: Sequence[Sequence[int]], vocabulary: Vocabulary, device: torch.device
) -> list[float]:
    """Log-probability of each sentence and its end; all are scored together, and leave as they end."""
    totals = [0.0] * len(sentences)
    rows = list(range(len(sentences)))
    last = torch.full((len(rows),), vocabulary.start, device=device)
    state = lm.init_state(len(rows), device)
    position = 0
    while rows:
        scores, state = lm.step(last, state)
        next_tokens = [sentences[row][position] if position < len(sentences[row]) else vocabulary.end for row in rows]
        last = torch.tensor(next_tokens, device=device)
        gained = scores.gather(1, last[:, None]).squeeze(1).tolist()
        for row, gain in zip(rows, gained, strict=True):
            totals[row] += gain
        going = [index for index, row in enumerate(rows) if position < len(sentences[row])]
        if len(going) < len(rows):
            kept = torch.tensor(going, dtype=torch.int64, device=device)
            rows, last, state = [rows[index] for index in going], last[kept], lm.reorder(state, kept)
        position += 1
    return totals
