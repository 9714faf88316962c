"""What a text is worth exactly, however it was found: CTC over all paths, and a word language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from asr.lm.ngram.model import NgramModel
from asr.text.vocabulary import BLANK


def ctc_log_prob(log_probs_TV: torch.Tensor, tokens: Sequence[int]) -> float:
    """log p(tokens | audio) in float64 by torch's forward algorithm; -inf where the tokens do not fit."""
    loss = F.ctc_loss(
        log_probs_TV.double()[:, None],
        torch.tensor([tokens], dtype=torch.int64).reshape(1, len(tokens)),
        input_lengths=torch.tensor([len(log_probs_TV)]),
        target_lengths=torch.tensor([len(tokens)]),
        blank=BLANK,
        reduction="none",
    )
    return -float(loss)


@dataclass(frozen=True)
class ExactScorer:
    """What beam searches approximate: log p(tokens | audio) + lm_weight * (log p(text) + unk_score for unknown words)."""

    lm: NgramModel | None = None
    lm_weight: float = 0.0
    unk_score: float = 0.0

    def score(self, log_probs_TV: torch.Tensor, tokens: Sequence[int], text: str) -> float:
        """The score of a text and the tokens that spell it; natural logarithm."""
        acoustic = ctc_log_prob(log_probs_TV, tokens)
        if self.lm is None:
            return acoustic
        words = text.split()
        num_unknown = sum(self.lm.id(word) == self.lm.unk_id for word in words)
        return acoustic + self.lm_weight * (self.lm.sentence_log_prob(words) + self.unk_score * num_unknown)
