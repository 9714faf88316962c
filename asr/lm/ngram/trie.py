"""From a list of n-grams to the automaton of `NgramModel`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr.lm.ngram.model import NgramModel


@dataclass(frozen=True, eq=False)
class NgramTrie:
    """N-grams as nodes, shortest first, then by parent, then by word; a node's parent is the n-gram but its last word.

    Node 0 is the empty n-gram, node 1 + i the unigram of word i. Each n-gram's parent is a node; its suffixes need not
    be. A log-probability of NaN stands for "as the shorter n-grams have it".
    """

    words: tuple[str, ...]
    level_begins: np.ndarray  # int64 (order + 2,), n-grams of length n are level_begins[n]:level_begins[n + 1]
    parents: np.ndarray  # int32 (num_nodes,), 0 for node 0
    labels: np.ndarray  # int32 (num_nodes,), last words; -1 for node 0
    log_probs: np.ndarray  # float32 (num_nodes,), natural; 0 for node 0
    backoffs: np.ndarray  # float32 (num_nodes,), natural; 0 for node 0 and for n-grams of the highest order

    @property
    def order(self) -> int:
        """Length of the longest n-grams."""
        return len(self.level_begins) - 2

    def model(self) -> NgramModel:
        """The automaton: nodes that n-grams follow, or that have a back-off weight, become states."""
        suffixes, log_probs = self._back_off()
        is_state = self.backoffs != 0.0
        is_state[0] = True
        is_state[self.parents] = True
        state_of = np.where(
            is_state, np.cumsum(is_state, dtype=np.int32) - 1, -1
        )  # of the longest suffix that is one, once filled
        for begin, end in zip(self.level_begins[1:-1], self.level_begins[2:], strict=True):
            level = state_of[begin:end]
            level[level < 0] = state_of[suffixes[begin:end][level < 0]]
        states = np.flatnonzero(is_state)
        arc_begins = np.searchsorted(self.parents[1:], states)
        return NgramModel(
            words=self.words,
            order=self.order,
            begins=np.append(arc_begins, len(self.parents) - 1).astype(np.int64),
            labels=self.labels[1:],
            log_probs=log_probs[1:],
            targets=state_of[1:],
            backoffs=self.backoffs[states],
            shorter=state_of[suffixes[states]],
        )

    def _back_off(self) -> tuple[np.ndarray, np.ndarray]:
        """Each node's longest proper suffix that is a node (num_nodes,), and log-probabilities without NaN."""
        keys = edge_keys(self.parents[1:], self.labels[1:], len(self.words))
        suffixes = np.zeros(len(self.parents), dtype=np.int32)
        log_probs = self.log_probs.copy()
        for begin, end in zip(self.level_begins[2:-1], self.level_begins[3:], strict=True):
            pending = np.arange(begin, end)
            backoff = self.backoffs[self.parents[begin:end]]
            history = suffixes[self.parents[begin:end]]
            while pending.size:
                wanted = edge_keys(history, self.labels[pending], len(self.words))
                edge, found = find(keys, wanted)
                node = pending[found]
                suffixes[node] = edge[found] + 1
                shorter = backoff[found] + log_probs[suffixes[node]]
                log_probs[node] = np.where(np.isnan(log_probs[node]), shorter, log_probs[node])
                pending = pending[~found]
                backoff = (backoff + self.backoffs[history])[~found]
                history = suffixes[history[~found]]
        return suffixes, log_probs


def edge_keys(parents: np.ndarray, labels: np.ndarray, num_words: int) -> np.ndarray:
    """One int64 for each pair of a node and a word, in the order of the pairs."""
    keys: np.ndarray = parents.astype(np.int64) * num_words + labels
    return keys


def find(ascending: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each wanted value stands in `ascending`, which is not empty unless `wanted` is, and whether it does."""
    order = np.argsort(wanted)  # look-ups in order find their place in the cache, which is five times faster
    place = np.empty_like(order)
    place[order] = np.searchsorted(ascending, wanted[order])
    np.minimum(place, len(ascending) - 1, out=place)
    return place, ascending[place] == wanted


def distinct(values: np.ndarray) -> np.ndarray:
    """The values, ascending, each once. `np.unique` would hash them, which takes many times longer."""
    ascending = np.sort(values)
    is_first = np.ones(len(values), dtype=bool)
    is_first[1:] = ascending[1:] != ascending[:-1]
    return ascending[is_first]
