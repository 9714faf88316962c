"""Confidence of words, 0..1, from the CTC output where each word is.

Measured on AN4's dev set, clean and in noise: for either measure it is best to take a token at its most confident
frame and a word at its least confident token. Means, products over frames and the frames between tokens separate right
from wrong words less well. `posterior` is the better calibrated one and the default; `entropy` sees how the rest is
spread, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from asr.errors import ConfigError
from asr.registry import did_you_mean
from asr.text.tokenizer import WordSpan

Measure = Callable[[Tensor, Tensor], Tensor]


def posterior(log_probs: Tensor, tokens: Tensor) -> Tensor:
    """Probability (S, U) of every token in every frame, from log-probabilities (S, V) and tokens (U,)."""
    return log_probs[:, tokens].exp()


def entropy(log_probs: Tensor, tokens: Tensor) -> Tensor:
    """One minus the entropy of a frame, as a share of the largest possible one; (S, U), the same for all tokens.

    The linear normalisation of Gibbs entropy in Laptev & Ginsburg 2023, "Fast entropy-based methods of word-level
    confidence estimation for end-to-end automatic speech recognition", section 3.
    """
    possible = log_probs.isfinite()
    nats = -(log_probs.exp() * log_probs.masked_fill(~possible, 0.0)).sum(-1)
    most = possible.sum(-1).clamp(min=2).log()
    return (1 - nats / most)[:, None].expand(-1, len(tokens))


MEASURES: dict[str, Measure] = {"posterior": posterior, "entropy": entropy}


def confidence_measure(name: str) -> Measure:
    """The measure of that name; ConfigError names the nearest known one otherwise."""
    if name not in MEASURES:
        raise ConfigError(f"unknown measure of confidence '{name}'{did_you_mean(name, MEASURES)}")
    return MEASURES[name]


def token_confidences(
    log_probs: Tensor, tokens: Sequence[int], token_frames: np.ndarray, measure: Measure = posterior
) -> np.ndarray:
    """Confidence (U,) of tokens that stand in frames (U, 2) of log-probabilities (S, V)."""
    by_frame = measure(log_probs.double(), torch.tensor(tokens, dtype=torch.int64)).clamp(0.0, 1.0).numpy()
    return np.array([by_frame[first:last, place].max() for place, (first, last) in enumerate(token_frames)])


def word_confidences(
    words: Sequence[WordSpan],
    log_probs: Tensor,
    tokens: Sequence[int],
    token_frames: np.ndarray | None,
    measure: Measure = posterior,
) -> list[float]:
    """Confidence of each word of a text: that of its least confident token; 0 where the text does not fit its audio."""
    if token_frames is None:
        return [0.0] * len(words)
    by_token = token_confidences(log_probs, tokens, token_frames, measure)
    return [float(by_token[word.start : word.stop].min()) for word in words]


def text_confidence(words: Sequence[float]) -> float | None:
    """Confidence of an utterance: the share of its words that should be right; None without words."""
    return math.fsum(words) / len(words) if words else None
