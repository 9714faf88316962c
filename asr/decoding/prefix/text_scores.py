"""N-gram language models and hotwords, looked up one text at a time inside compiled searches.

What is computed here is what `WordNgramScorer`, `TokenNgramScorer` and `HotwordScorer` compute for many rows at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from asr.system.jit import compiled_part

NONE, WORDS, TOKENS = 0, 1, 2  # what the language model is over
ROOT, SINK = 0, -1  # trie nodes: no letter of the word yet; letters that begin no known word


class TextScores(NamedTuple):
    """Flat arrays of a language model, its lexicon and the hotwords; empty where there is none."""

    # the language model
    kind: int  # NONE, WORDS or TOKENS
    weight: float
    begins: np.ndarray
    labels: np.ndarray
    log_probs: np.ndarray
    targets: np.ndarray
    backoffs: np.ndarray
    shorter: np.ndarray
    start_state: int
    unk: int
    eos: int
    token_words: np.ndarray  # (V,) TOKENS: the language model's word for each token
    # the letters of its words; WORDS alone
    child_begins: np.ndarray
    child_letters: np.ndarray
    child_nodes: np.ndarray
    word_ids: np.ndarray
    lookahead: np.ndarray
    sink_lookahead: float
    unk_score: float
    # the letters of the acoustic model's tokens; WORDS alone
    letter_begins: np.ndarray  # (V + 1,)
    letters: np.ndarray
    opens_word: np.ndarray  # (V,) bool
    # hotwords
    has_hotwords: bool
    hot_start: int
    hot_next: np.ndarray  # (S, V)
    hot_scores: np.ndarray  # (S, V)
    hot_ends: np.ndarray  # (S,)
    hot_best: np.ndarray  # (S,) the largest score of any token, 0 at least


@compiled_part
def find(labels: np.ndarray, label: int, low: int, high: int) -> int:
    """Where `label` stands in the sorted labels[low:high], or -1."""
    end = high
    while low < high:
        middle = (low + high) >> 1
        if labels[middle] < label:
            low = middle + 1
        else:
            high = middle
    return low if low < end and labels[low] == label else -1


@compiled_part
def next_word(lm: TextScores, state: int, word: int) -> tuple[float, int]:
    """Log-probability of a word after an n-gram state, and the state after it; backs off as far as it must."""
    score = 0.0
    labels, begins = lm.labels, lm.begins
    while state != 0:
        arc = find(labels, word, begins[state], begins[state + 1])
        if arc >= 0:
            return score + lm.log_probs[arc], lm.targets[arc]
        score += lm.backoffs[state]
        state = lm.shorter[state]
    return score + lm.log_probs[word], lm.targets[word]


@compiled_part
def lookahead(lm: TextScores, node: int) -> float:
    """Score of the best word that a trie node may still become."""
    return 0.0 if node == ROOT else lm.sink_lookahead if node == SINK else lm.lookahead[node]


@compiled_part
def end_word(lm: TextScores, state: int, node: int) -> tuple[float, int]:
    """What ending the word at a trie node adds to a score, and the n-gram state after the word."""
    if node == ROOT:
        return 0.0, state
    word = lm.word_ids[node] if node != SINK else -1
    if word >= 0:
        score, state = next_word(lm, state, word)
    else:
        score, state = next_word(lm, state, lm.unk)
        score += lm.unk_score
    return score - lookahead(lm, node), state


@compiled_part
def spell(lm: TextScores, node: int, token: int) -> int:
    """The trie node after the letters of a token."""
    child_begins, child_letters, letters = lm.child_begins, lm.child_letters, lm.letters
    for index in range(lm.letter_begins[token], lm.letter_begins[token + 1]):
        if node == SINK:
            return SINK
        child = find(child_letters, letters[index], child_begins[node], child_begins[node + 1])
        node = lm.child_nodes[child] if child >= 0 else SINK
    return node


@compiled_part
def add_token(
    lm: TextScores, state: int, node: int, end_score: float, end_state: int, token: int
) -> tuple[float, int, int]:
    """What a token adds to the language model's score, before its weight, and the n-gram state and trie node after it.

    `end_score` and `end_state` are those of `end_word`.
    """
    if lm.kind == TOKENS:
        score, state = next_word(lm, state, lm.token_words[token])
        return score, state, node
    opens = lm.opens_word[token]
    after = spell(lm, ROOT if opens else node, token)
    if opens:
        return end_score + lookahead(lm, after), end_state, after
    return lookahead(lm, after) - lookahead(lm, node), state, after


@compiled_part
def end_sentence(lm: TextScores, state: int, node: int) -> float:
    """What ending the sentence adds to the language model's score, before its weight."""
    if lm.kind == NONE:
        return 0.0
    score = 0.0
    if lm.kind == WORDS:
        score, state = end_word(lm, state, node)
    return score + next_word(lm, state, lm.eos)[0]
