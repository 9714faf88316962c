"""Slow and certain answers on tiny inputs, for tests of searches."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import torch
from torch import Tensor

from asr.text.vocabulary import Vocabulary
from tests.decoding.fakes import own_vocabulary


def collapse(path: tuple[int, ...], blank: int) -> tuple[int, ...]:
    """What a CTC path spells: repeats merged, blanks dropped."""
    return tuple(token for token, _ in itertools.groupby(path) if token != blank)


def no_labels(vocabulary: Vocabulary) -> list[int]:
    """Start and end of sentence, as far as there are such."""
    return [role for role in (vocabulary.sos, vocabulary.eos) if role is not None and role != vocabulary.blank]


def ctc_text_scores(log_probs: Tensor, vocabulary: Vocabulary | None = None) -> dict[tuple[int, ...], float]:
    """log p(text) of every text that (S, V) log-probabilities can spell, by summing over all paths."""
    scores: dict[tuple[int, ...], float] = defaultdict(lambda: -math.inf)
    num_frames, vocab_size = log_probs.shape
    vocabulary = vocabulary or own_vocabulary(vocab_size)
    assert vocabulary.blank is not None
    legal = [token for token in range(vocab_size) if token not in no_labels(vocabulary)]
    rows = log_probs.tolist()
    for path in itertools.product(legal, repeat=num_frames):
        score = sum(rows[frame][token] for frame, token in enumerate(path))
        text = collapse(path, vocabulary.blank)
        high, low = max(scores[text], score), min(scores[text], score)
        scores[text] = high + math.log1p(math.exp(low - high)) if low > -math.inf else high
    return {text: score for text, score in scores.items() if score > -math.inf}


def random_log_probs(*shape: int, seed: int, sharpness: float = 2.0, vocabulary: Vocabulary | None = None) -> Tensor:
    """Log-probabilities (..., V) float64 of a CTC head: start and end of sentence are impossible."""
    logits = sharpness * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    logits[..., no_labels(vocabulary or own_vocabulary(shape[-1]))] = -math.inf
    return logits.log_softmax(-1)
