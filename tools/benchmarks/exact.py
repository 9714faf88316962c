"""What a text is worth exactly, however it was found: CTC over all paths, and a word language model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import mean
from typing import Any

import torch
from rapidfuzz.distance import Levenshtein
from torch.nn import functional as F

from asr.lm.ngram.model import NgramModel
from asr.text.tokenizer.sentence_piece import BLANK
from tools.benchmarks.posteriors import Heard, Language

SAME_WITHIN = 1e-6  # scores no further apart are the same


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
    """What searches approximate: log p(tokens | audio) + lm_weight * (log p(text) + unk_score * unknown words)."""

    lm: NgramModel | None = None
    lm_weight: float = 0.0
    unk_score: float = 0.0

    def score(self, heard: Heard, tokens: Sequence[int], text: str) -> float:
        """The score of a text and the tokens that spell it; natural logarithm."""
        acoustic = ctc_log_prob(torch.from_numpy(heard.log_probs), tokens)
        if self.lm is None:
            return acoustic
        words = text.split()
        num_unknown = sum(self.lm.id(word) == self.lm.unk_id for word in words)
        return acoustic + self.lm_weight * (self.lm.sentence_log_prob(words) + self.unk_score * num_unknown)


def compare_texts(
    heard: Sequence[Heard], language: Language, texts: Mapping[str, Sequence[str]], scorer: ExactScorer
) -> dict[str, Any]:
    """The first side's texts beside those of every other: how many of its own score higher, the same and lower.

    A text is spelled in one way only (see `Language`), so its score does not depend on who found it.
    """
    greedy = [language.write(_collapse(one.log_probs.argmax(1).tolist())) for one in heard]
    found = {**texts, "greedy": greedy, "what was said": [one.text for one in heard]}
    scores = {
        name: [scorer.score(one, language.tokens(text), text) for one, text in zip(heard, each, strict=True)]
        for name, each in found.items()
    }
    first, *others = texts
    return {
        "beside": {name: _count(scores[first], scores[name]) for name in others},
        "token_errors": {name: _token_errors(heard, map(language.tokens, each)) for name, each in found.items()},
        "mean_score": {name: mean(each) for name, each in scores.items()},
    }


def _count(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, int]:
    """How many of our scores are higher than theirs, the same and lower."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    lower = sum(difference < -SAME_WITHIN for difference in differences)
    higher = sum(difference > SAME_WITHIN for difference in differences)
    return {"higher": higher, "same": len(differences) - higher - lower, "lower": lower}


def _collapse(path: Sequence[int]) -> list[int]:
    """The tokens that a path of one per frame spells."""
    return [token for token, _ in groupby(path) if token != BLANK]


def _token_errors(heard: Sequence[Heard], found: Iterable[Sequence[int]]) -> float:
    """Substitutions, deletions and insertions per token that was said."""
    errors = sum(Levenshtein.distance(one.tokens, tuple(tokens)) for one, tokens in zip(heard, found, strict=True))
    return errors / sum(len(one.tokens) for one in heard)
