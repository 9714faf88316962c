"""A back-off n-gram model as an automaton in flat arrays, which every reader, writer and scorer shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

UNK_WORD, BOS_WORD, EOS_WORD = "<unk>", "<s>", "</s>"


@dataclass(frozen=True, eq=False)
class NgramModel:
    """A state is a history the model knows, an arc an n-gram: its last word, seen from the state of the others.

    Log-probabilities are natural. States come in order of their length, arcs in order of their states, so those of
    state s are `begins[s]:begins[s + 1]`. State 0 is the empty history; its arc i is the unigram of word i. A history
    without arcs whose back-off weight is 0 is no state: it scores words as a shorter one does.
    """

    words: tuple[str, ...]  # by id, distinct; <unk>, <s> and </s> are among them
    order: int
    begins: np.ndarray  # int64 (num_states + 1,)
    labels: np.ndarray  # int32 (num_arcs,), word ids, ascending within a state
    log_probs: np.ndarray  # float32 (num_arcs,)
    targets: np.ndarray  # int32 (num_arcs,), the longest suffix of history + word that is a state
    backoffs: np.ndarray  # float32 (num_states,), 0 for state 0
    shorter: np.ndarray  # int32 (num_states,), the longest proper suffix that is a state; 0 for state 0

    @cached_property
    def unk_id(self) -> int:
        """The id of the word that stands for all unknown ones."""
        return self._ids[UNK_WORD]

    @cached_property
    def bos_id(self) -> int:
        """The id of the start of a sentence; it is part of histories only."""
        return self._ids[BOS_WORD]

    @cached_property
    def eos_id(self) -> int:
        """The id of the end of a sentence."""
        return self._ids[EOS_WORD]

    @cached_property
    def start_state(self) -> int:
        """The state before the first word of a sentence."""
        return int(self.targets[self.bos_id])

    @property
    def num_states(self) -> int:
        """Number of histories, the empty one included."""
        return len(self.backoffs)

    def id(self, word: str) -> int:
        """The id of a word, `unk_id` if the model lacks it."""
        return self._ids.get(word, self.unk_id)

    def score(self, state: int, word_id: int) -> tuple[float, int]:
        """log p(word | history) and the state after the word."""
        backoff = 0.0
        while True:
            begin, end = self.begins[state], self.begins[state + 1]
            arc = begin + np.searchsorted(self.labels[begin:end], word_id)
            if arc < end and self.labels[arc] == word_id:
                return backoff + float(self.log_probs[arc]), int(self.targets[arc])
            assert state != 0, f"{word_id} is the id of no word"
            backoff += float(self.backoffs[state])
            state = int(self.shorter[state])

    def sentence_log_prob(self, words: Sequence[str]) -> float:
        """log p of a sentence with its end; unknown words count as <unk>."""
        total, state = 0.0, self.start_state
        for word_id in [*map(self.id, words), self.eos_id]:
            log_prob, state = self.score(state, word_id)
            total += log_prob
        return total

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words)}


@dataclass(frozen=True)
class Perplexity:
    """How well a model predicts a text. The end of a sentence counts as a word where words are predicted."""

    num_sentences: int
    num_words: int  # without the ends
    num_unknown: int
    log_prob: float  # natural, of everything
    unknown_log_prob: float  # the part of it that unknown words cost

    @property
    def total(self) -> float:
        """Perplexity per word, unknown ones as <unk>; NaN without text."""
        return _perplexity(self.log_prob, self.num_words + self.num_sentences)

    @property
    def known(self) -> float:
        """Perplexity per word without the unknown ones; NaN without text."""
        known_log_prob = self.log_prob - self.unknown_log_prob
        return _perplexity(known_log_prob, self.num_words + self.num_sentences - self.num_unknown)

    @property
    def unknown_rate(self) -> float:
        """Fraction of words that the model lacks; NaN without words."""
        return self.num_unknown / self.num_words if self.num_words else math.nan


def perplexity(model: NgramModel, sentences: Iterable[Sequence[str]]) -> Perplexity:
    """Score sentences, each a sequence of words without <s> and </s>."""
    num_sentences = num_words = num_unknown = 0
    log_probs: list[float] = []
    unknown_log_probs: list[float] = []
    for words in sentences:
        num_sentences += 1
        num_words += len(words)
        state = model.start_state
        for word_id in [*map(model.id, words), model.eos_id]:
            log_prob, state = model.score(state, word_id)
            log_probs.append(log_prob)
            if word_id == model.unk_id:
                num_unknown += 1
                unknown_log_probs.append(log_prob)
    return Perplexity(num_sentences, num_words, num_unknown, math.fsum(log_probs), math.fsum(unknown_log_probs))


def _perplexity(log_prob: float, num_events: int) -> float:
    return math.exp(-log_prob / num_events) if num_events else math.nan
