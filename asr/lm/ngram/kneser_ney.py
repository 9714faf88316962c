"""Interpolated modified Kneser-Ney smoothing.

S. Chen and J. Goodman 1998, "An empirical study of smoothing techniques for language modeling", section 3; pruning and
the treatment of <s> and <unk> as in K. Heafield et al. 2013, "Scalable modified Kneser-Ney language model estimation".

    p(w | h) = max(a(h w) - D(a(h w)), 0) / sum over v of a(h v) + backoff(h) p(w | h without its oldest word)

a(h w) is the count of h w in the highest order, and where h begins with <s>; else the number of different words that
come before h w. D(1), D(2) and D(3 or more) differ, and are chosen for each order. backoff(h) is the share of h's
counts that discounts took away. Below the unigrams stands the uniform distribution over all words but <s>.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from asr.errors import LmError
from asr.lm.ngram.arpa import LN10, ZERO
from asr.lm.ngram.counts import BOS_ID, NgramCounts
from asr.lm.ngram.model import NgramModel
from asr.lm.ngram.trie import NgramTrie, find

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # where a corpus is too small or too regular to estimate them


@dataclass(frozen=True)
class OrderSummary:
    """What became of the n-grams of one order."""

    num_seen: int
    num_kept: int
    discounts: tuple[float, float, float]  # of counts 1, 2, and 3 or more
    is_fallback: bool


@dataclass(frozen=True)
class Estimate:
    """A trained model and how it came about."""

    model: NgramModel
    orders: tuple[OrderSummary, ...]  # from unigrams up


@dataclass(frozen=True, eq=False)
class _Level:
    """The n-grams of one order, all of those counted."""

    histories: np.ndarray  # int64, the n-gram without its last word: an index into the level below
    labels: np.ndarray  # int64, the last word
    suffixes: np.ndarray  # int64, the n-gram without its first word: an index into the level below
    kept: np.ndarray  # bool
    adjusted: np.ndarray  # float64, a(.)


def estimate(counts: NgramCounts, prune: Sequence[int] = (0,)) -> Estimate:
    """The model of these counts. N-grams of order n that occur at most `prune[n - 1]` times are left out.

    The last threshold holds for higher orders, too. LmError unless thresholds begin with 0 and never fall, for then
    what is left could need what is gone.
    """
    levels = _levels(counts, _thresholds(prune, len(counts.keys)))
    summaries = []
    num_words = len(counts.words)
    below = np.full(1, 1.0 / (num_words - 1))
    log_probs, backoffs = [np.zeros(1)], [np.zeros(1)]
    for order, level in enumerate(levels, 1):
        discounts, is_fallback = _discounts(level.adjusted)
        summaries.append(OrderSummary(len(level.kept), int(level.kept.sum()), discounts, is_fallback))
        taken = _taken(level, discounts)
        totals = np.bincount(level.histories, weights=level.adjusted, minlength=len(below))
        left_over = np.bincount(level.histories, weights=taken, minlength=len(below)) / np.maximum(totals, 1.0)
        own = (level.adjusted - taken) / totals[level.histories]
        below = own + left_over[level.histories] * below[level.suffixes]
        if order > 1:
            followed = np.bincount(level.histories[level.kept], minlength=len(left_over)) > 0
            backoffs.append(np.log(left_over, where=followed, out=np.zeros_like(left_over)))
        else:
            below[BOS_ID] = np.exp(ZERO * LN10)
        log_probs.append(np.log(below))
    backoffs.append(np.zeros(len(below)))
    _report(summaries)
    return Estimate(_trie(counts.words, levels, log_probs, backoffs).model(), tuple(summaries))


def _thresholds(prune: Sequence[int], order: int) -> list[int]:
    if not prune or prune[0] != 0 or list(prune) != sorted(prune):
        given = ",".join(map(str, prune))
        raise LmError(f"prune '{given}': thresholds begin with 0 and never fall, e.g. 0,0,1")
    if len(prune) > order:
        raise LmError(f"prune: {len(prune)} thresholds are too many for a model of order {order}")
    return [*prune, *[prune[-1]] * (order - len(prune))]


def _levels(counts: NgramCounts, thresholds: Sequence[int]) -> list[_Level]:
    num_words = len(counts.words)
    levels: list[_Level] = []
    for keys, raw, threshold in zip(counts.keys, counts.counts, thresholds, strict=True):
        histories, labels = np.divmod(keys, num_words)
        if len(levels) == 0:
            suffixes = np.zeros(num_words, dtype=np.int64)
            kept = np.ones(num_words, dtype=bool)
        else:
            beginnings = levels[-1].suffixes[histories] if len(levels) > 1 else np.zeros(len(keys), dtype=np.int64)
            suffixes, found = find(counts.keys[len(levels) - 1], beginnings * num_words + labels)
            assert found.all(), "a corpus with an n-gram holds its end, too"
            kept = raw > threshold
        levels.append(_Level(histories, labels, suffixes, kept, raw.astype(np.float64)))
    for level, longer in pairwise(levels):
        continuations = np.bincount(longer.suffixes, minlength=len(level.kept))
        # only what begins with <s> has no word before it
        np.copyto(level.adjusted, continuations, where=continuations > 0)
    levels[0].adjusted[BOS_ID] = 0.0
    return levels


def _discounts(adjusted: np.ndarray) -> tuple[tuple[float, float, float], bool]:
    """D(1), D(2) and D(3 or more), and whether they are the fallback.

    Without n-grams of count 4 the formula would take all of a count of 3 away; that, too, calls for the fallback.
    """
    with_count = np.bincount(adjusted[adjusted < 5].astype(np.int64), minlength=5)
    n1, n2, n3, n4 = with_count[1:].tolist()
    if n1 and n2 and n3 and n4:
        y = n1 / (n1 + 2 * n2)
        discounts = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        if min(discounts) > 0:
            return discounts, False
    return FALLBACK_DISCOUNTS, True


def _report(summaries: Sequence[OrderSummary]) -> None:
    """LmError if pruning left nothing of an order, a warning where discounts are not the corpus' own."""
    for order, summary in enumerate(summaries, 1):
        if not summary.num_kept:
            raise LmError(f"pruning leaves no {order}-grams; lower the thresholds or the order")
    if fallback := [str(order) for order, summary in enumerate(summaries, 1) if summary.is_fallback]:
        taken = ", ".join(map(str, FALLBACK_DISCOUNTS))
        warnings.warn(
            f"n-grams of order {', '.join(fallback)}: too little text, or too regular, to estimate discounts; taking "
            f"{taken}",
            stacklevel=3,
        )


def _taken(level: _Level, discounts: tuple[float, float, float]) -> np.ndarray:
    """How much of each n-gram's count goes to shorter histories: the discount, or all of what is pruned."""
    by_count = np.array([0.0, *discounts])
    return np.where(level.kept, by_count[np.minimum(level.adjusted, 3).astype(np.int64)], level.adjusted)


def _trie(
    words: tuple[str, ...], levels: Sequence[_Level], log_probs: Sequence[np.ndarray], backoffs: Sequence[np.ndarray]
) -> NgramTrie:
    """The n-grams that were kept; `log_probs` and `backoffs` begin with those of the empty n-gram."""
    level_begins = [0, 1]
    nodes = np.zeros(1, dtype=np.int64)  # of the n-grams of the level below
    parents, labels = [np.zeros(1, dtype=np.int64)], [np.full(1, -1)]
    kept = [np.ones(1, dtype=bool), *(level.kept for level in levels)]
    for level in levels:
        parents.append(nodes[level.histories[level.kept]])
        labels.append(level.labels[level.kept])
        nodes = level_begins[-1] - 1 + np.cumsum(level.kept)
        level_begins.append(level_begins[-1] + int(level.kept.sum()))
    return NgramTrie(
        words,
        np.array(level_begins),
        np.concatenate(parents),
        np.concatenate(labels),
        np.concatenate([values[mask] for values, mask in zip(log_probs, kept, strict=True)]),
        np.concatenate([values[mask] for values, mask in zip(backoffs, kept, strict=True)]),
    )
