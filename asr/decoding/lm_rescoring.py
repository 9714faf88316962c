"""N-best rescoring: a search proposes whole hypotheses, and a language model that heard none of it has its say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from asr.decoding.base import Searcher
from asr.lm.base import TokenScorer
from asr.text.vocabulary import EOS, SOS
from asr.types import EncoderOutput, Hypothesis


class LmRescored:
    """Another search, whose n-best lists are sorted anew once a language model has scored them.

    The part "lm" of a hypothesis becomes `weight` times the log-probability of its tokens and their end, in place of
    what the search itself may have had there; the other parts stay.
    """

    def __init__(self, searcher: Searcher, lm: TokenScorer, weight: float) -> None:
        self.searcher = searcher
        self.lm = lm
        self.weight = weight

    def search(self, encoded: EncoderOutput) -> list[list[Hypothesis]]:
        """The n-best lists of the inner search, rescored, best first; equals keep their order."""
        n_best_lists = self.searcher.search(encoded)
        sentences = [hypothesis.tokens for n_best in n_best_lists for hypothesis in n_best]
        scores = iter(sentence_scores(self.lm, sentences, encoded.frames.device))
        rescored = [[self._rescore(hypothesis, next(scores)) for hypothesis in n_best] for n_best in n_best_lists]
        return [sorted(n_best, key=lambda hypothesis: -hypothesis.score) for n_best in rescored]

    def _rescore(self, hypothesis: Hypothesis, lm_score: float) -> Hypothesis:
        parts = hypothesis.parts | {"lm": self.weight * lm_score}
        score = hypothesis.score - hypothesis.parts.get("lm", 0.0) + parts["lm"]
        return replace(hypothesis, score=score, parts=parts)


def sentence_scores(lm: TokenScorer, sentences: Sequence[Sequence[int]], device: torch.device) -> list[float]:
    """What a scorer says of each sentence and its end; all are scored together, and leave as they end."""
    totals = [0.0] * len(sentences)
    rows = list(range(len(sentences)))
    last = torch.full((len(rows),), SOS, device=device)
    state = lm.init_state(len(rows), device)
    position = 0
    while rows:
        scores, state = lm.step(last, state)
        next_tokens = [sentences[row][position] if position < len(sentences[row]) else EOS for row in rows]
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
