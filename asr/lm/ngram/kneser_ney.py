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
from dataclasses import dataclass, replace

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

    keys: np.ndarray  # int64, of `NgramCounts`
    num_words: int
    suffixes: np.ndarray  # int32, the n-gram without its first word: an index into the level below
    kept: np.ndarray  # bool
    adjusted: np.ndarray  # int64, a(.)

    @property
    def histories(self) -> np.ndarray:
        """The n-gram without its last word: an index into the level below, int64. Not stored, to save memory."""
        return self.keys // self.num_words

    @property
    def labels(self) -> np.ndarray:
        """The last word, int64."""
        return self.keys % self.num_words


def estimate(counts: NgramCounts, prune: Sequence[int] = (0,)) -> Estimate:
    """The model of these counts. N-grams of order n that occur at most `prune[n - 1]` times are left out.

    The last threshold holds for higher orders, too. LmError unless thresholds begin with 0 and never fall, for then
    what is left could need what is gone.
    """
    levels = _levels(counts, _thresholds(prune, len(counts.keys)))
    summaries = []
    below = np.full(1, 1.0 / (len(counts.words) - 1))  # probabilities of the level below
    log_probs, backoffs = [np.zeros(1, dtype=np.float32)], [np.zeros(1, dtype=np.float32)]
    for order, level in enumerate(levels, 1):
        discounts, is_fallback = _discounts(level.adjusted)
        summaries.append(OrderSummary(len(level.kept), int(level.kept.sum()), discounts, is_fallback))
        histories = level.histories
        taken = _taken(level, discounts)
        totals = np.bincount(histories, weights=level.adjusted, minlength=len(below))
        left_over = np.bincount(histories, weights=taken, minlength=len(below)) / np.maximum(totals, 1.0)
        own = (level.adjusted - taken) / totals[histories]
        below = own + left_over[histories] * below[level.suffixes]
        if order > 1:
            followed = np.bincount(histories[level.kept], minlength=len(left_over)) > 0
            backoffs.append(np.log(left_over, where=followed, out=np.zeros_like(left_over)).astype(np.float32))
        else:
            below[BOS_ID] = np.exp(ZERO * LN10)
        log_probs.append(np.log(below).astype(np.float32))
    backoffs.append(np.zeros(len(below), dtype=np.float32))
    _report(summaries)
    trie = _trie(counts.words, levels, log_probs, backoffs)
    del levels, level, log_probs, backoffs, below, own, taken, histories  # large, and the automaton needs memory, too
    return Estimate(trie.model(), tuple(summaries))


def _thresholds(prune: Sequence[int], order: int) -> list[int]:
    if not prune or prune[0] != 0 or list(prune) != sorted(prune):
        given = ",".join(map(str, prune))
        raise LmError(f"prune '{given}': thresholds begin with 0 and never fall, e.g. 0,0,1")
    if len(prune) > order:
        raise LmError(f"prune: {len(prune)} thresholds are too many for a model of order {order}")
    return [*prune, *[prune[-1]] * (order - len(prune))]


def _levels(counts: NgramCounts, thresholds: Sequence[int]) -> list[_Level]:
    num_words = len(counts.words)
    unigrams = np.zeros(num_words, dtype=np.int32), np.ones(num_words, dtype=bool)
    levels = [_Level(counts.keys[0], num_words, *unigrams, counts.counts[0].copy())]
    for keys, raw, threshold in zip(counts.keys[1:], counts.counts[1:], thresholds[1:], strict=True):
        below = levels[-1]
        middles = below.suffixes[keys // num_words].astype(np.int64)  # without the first word and the last
        suffixes, found = find(below.keys, middles * num_words + keys % num_words)
        assert found.all(), "a corpus with an n-gram holds its end, too"
        levels.append(_Level(keys, num_words, suffixes.astype(np.int32), raw > threshold, raw))
    for index, longer in enumerate(levels[1:]):
        continuations = np.bincount(longer.suffixes, minlength=len(levels[index].kept))
        # only what begins with <s> has no word before it
        adjusted = np.where(continuations > 0, continuations, levels[index].adjusted)
        levels[index] = replace(levels[index], adjusted=adjusted)
    levels[0].adjusted[BOS_ID] = 0
    return levels


def _discounts(adjusted: np.ndarray) -> tuple[tuple[float, float, float], bool]:
    """D(1), D(2) and D(3 or more), and whether they are the fallback.

    Without n-grams of count 4 the formula would take all of a count of 3 away; that, too, calls for the fallback.
    """
    with_count = np.bincount(adjusted[adjusted < 5], minlength=5)
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
    return np.where(level.kept, by_count[np.minimum(level.adjusted, 3)], level.adjusted)


def _trie(
    words: tuple[str, ...], levels: Sequence[_Level], log_probs: Sequence[np.ndarray], backoffs: Sequence[np.ndarray]
) -> NgramTrie:
    """The n-grams that were kept; `log_probs` and `backoffs` begin with those of the empty n-gram."""
    level_begins = [0, 1]
    nodes = np.zeros(1, dtype=np.int32)  # of the n-grams of the level below
    parents, labels = [np.zeros(1, dtype=np.int32)], [np.full(1, -1, dtype=np.int32)]
    for level in levels:
        parents.append(nodes[level.histories[level.kept]])
        labels.append(level.labels[level.kept].astype(np.int32))
        nodes = (level_begins[-1] - 1 + np.cumsum(level.kept)).astype(np.int32)
        level_begins.append(level_begins[-1] + int(level.kept.sum()))
    kept = np.concatenate([np.ones(1, dtype=bool), *(level.kept for level in levels)])
    return NgramTrie(
        words,
        np.array(level_begins),
        np.concatenate(parents),
        np.concatenate(labels),
        np.concatenate(log_probs)[kept],
        np.concatenate(backoffs)[kept],
    )
