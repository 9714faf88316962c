"""CTC prefix beam search of one utterance, compiled. See `ctc_prefix_beam` for what it computes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from asr.decoding.prefix.text_scores import (
    ROOT,
    TOKENS,
    WORDS,
    TextScores,
    end_sentence,
    end_word,
    next_word,
    spell,
    token_score,
)
from asr.text.vocabulary import BLANK, EOS, SOS

NOWHERE = -1


class Settings(NamedTuple):
    """Widths and thresholds; -inf where there is no threshold."""

    beam: int
    length_bonus: float
    token_threshold: float  # of a token's log-probability in a frame
    beam_threshold: float  # of a score less the best one of its frame


class Tree(NamedTuple):
    """All prefixes ever kept, each with what its text alone decides. Node 0 is the empty prefix."""

    parent: np.ndarray
    token: np.ndarray
    first_child: np.ndarray
    sibling: np.ndarray
    position: np.ndarray  # place in the beam, or NOWHERE
    ngram_state: np.ndarray
    trie_node: np.ndarray
    end_score: np.ndarray  # what ending the current word would add to the language model's score
    end_state: np.ndarray
    hot_state: np.ndarray
    lm: np.ndarray  # weighted, so far
    hot: np.ndarray  # so far
    length: np.ndarray  # tokens
    text: np.ndarray  # lm + hot + length bonus


class Extensions(NamedTuple):
    """Prefixes of the beam made longer by a token, before it is known which are kept."""

    beam_index: np.ndarray
    token: np.ndarray
    ctc: np.ndarray
    score: np.ndarray


@njit(cache=True, nogil=True)
def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b)) without overflow; -inf is a probability of 0."""
    if a < b:
        a, b = b, a
    if b < a - 40.0 or b == -np.inf:  # too small to change a float64
        return a
    return a + math.log1p(math.exp(b - a))


@njit(cache=True, nogil=True)
def new_tree(size: int, text: TextScores) -> Tree:
    """A tree with room for so many prefixes that holds the empty one."""
    tree = Tree(
        np.full(size, NOWHERE, np.int32), np.full(size, BLANK, np.int32), np.full(size, NOWHERE, np.int32),
        np.full(size, NOWHERE, np.int32), np.full(size, NOWHERE, np.int32), np.zeros(size, np.int32),
        np.zeros(size, np.int32), np.zeros(size), np.zeros(size, np.int32), np.zeros(size, np.int32),
        np.zeros(size), np.zeros(size), np.zeros(size, np.int32), np.zeros(size),
    )  # fmt: skip
    tree.ngram_state[0] = tree.end_state[0] = text.start_state
    tree.hot_state[0] = text.hot_start
    return tree


@njit(cache=True, nogil=True)
def child_in(first_child: np.ndarray, sibling: np.ndarray, tokens: np.ndarray, node: int, token: int) -> int:
    """The node of a prefix and one more token if it was ever made, else NOWHERE."""
    child = int(first_child[node])
    while child != NOWHERE and tokens[child] != token:
        child = int(sibling[child])
    return child


@njit(cache=True, nogil=True)
def add_child(text: TextScores, tree: Tree, child: int, node: int, token: int, bonus: float) -> None:
    """Make `child` the node of a prefix and one more token."""
    tree.parent[child] = node
    tree.token[child] = token
    tree.sibling[child] = tree.first_child[node]
    tree.first_child[node] = child
    state, before = tree.ngram_state[node], tree.trie_node[node]
    tree.lm[child] = tree.lm[node] + token_score(text, state, before, tree.end_score[node], token)
    if text.kind == WORDS:
        if text.opens_word[token]:
            state, before = tree.end_state[node], ROOT
        tree.ngram_state[child] = state
        tree.trie_node[child] = spell(text, before, token)
        tree.end_score[child], tree.end_state[child] = end_word(text, state, tree.trie_node[child])
    elif text.kind == TOKENS:
        tree.ngram_state[child] = next_word(text, state, text.token_words[token])[1]
    if text.has_hotwords:
        tree.hot[child] = tree.hot[node] + text.hot_scores[tree.hot_state[node], token]
        tree.hot_state[child] = text.hot_next[tree.hot_state[node], token]
    tree.length[child] = tree.length[node] + 1
    tree.text[child] = tree.lm[child] + tree.hot[child] + bonus * tree.length[child]


@njit(cache=True, nogil=True)
def tokens_to_try(log_probs: np.ndarray, threshold: float, tokens: np.ndarray) -> int:
    """Fill in the tokens likely enough in a frame (V,), the best one in any case; returns how many there are."""
    count, best = 0, 1
    for token in range(1, len(log_probs)):
        if token in (SOS, EOS):
            continue
        if log_probs[token] > log_probs[best]:
            best = token
        if log_probs[token] >= threshold and log_probs[token] != -np.inf:
            tokens[count] = token
            count += 1
    if count == 0 and log_probs[best] != -np.inf:
        tokens[0] = best
        count = 1
    return count


@njit(cache=True, nogil=True)
def stay(frame: np.ndarray, tree: Tree, beam: np.ndarray, ctc: np.ndarray, after: np.ndarray) -> None:
    """Prefixes (W,) that a frame leaves as they are: a blank, or their last token once more.

    Columns of `ctc` and `after` (W, 3): log-probabilities of all paths, of those that end in a blank, and of those that
    end in the last token.
    """
    last = tree.token
    for index in range(len(beam)):
        after[index, 1] = ctc[index, 0] + frame[BLANK]
        after[index, 2] = ctc[index, 2] + frame[last[beam[index]]] if beam[index] != 0 else -np.inf
        after[index, 0] = log_add(after[index, 1], after[index, 2])


@njit(cache=True, nogil=True)
def parents_in(tree: Tree, beam: np.ndarray) -> np.ndarray:
    """Which prefixes (W,) of the beam have a prefix one token longer beside them."""
    is_parent = np.zeros(len(beam), np.bool_)
    for node in beam:
        if node != 0 and tree.position[tree.parent[node]] != NOWHERE:
            is_parent[tree.position[tree.parent[node]]] = True
    return is_parent


@njit(cache=True, nogil=True)
def best_gain(text: TextScores, tree: Tree, node: int) -> float:
    """The most that any token after a prefix can add to the scores of language model and hotwords.

    A look-ahead only ever falls; a word that ends can turn out better than its look-ahead.
    """
    gain = max(0.0, text.weight * float(tree.end_score[node]))
    return gain + float(text.hot_best[tree.hot_state[node]]) if text.has_hotwords else gain


@njit(cache=True, nogil=True)
def extend(
    frame: np.ndarray,
    tokens: np.ndarray,
    text: TextScores,
    tree: Tree,
    beam: np.ndarray,
    ctc: np.ndarray,
    after: np.ndarray,
    bonus: float,
    hopeless: float,
    extensions: Extensions,
) -> int:
    """Make every prefix of the beam longer by every token; what makes a prefix of the beam adds to that one.

    Fills in `extensions`, but for those that must score less than `hopeless`; returns how many there are.
    """
    is_parent = parents_in(tree, beam)
    has_text = text.kind != 0 or text.has_hotwords
    ext_index, ext_token, ext_ctc, ext_score = extensions
    first_child, sibling, last_tokens, position = tree.first_child, tree.sibling, tree.token, tree.position
    count = 0
    for index in range(len(beam)):
        node = beam[index]
        last, total, only_blank = last_tokens[node], ctc[index, 0], ctc[index, 1]
        base = tree.text[node] + bonus
        needed = hopeless - base - best_gain(text, tree, node)
        for token in tokens:
            # a token right after itself is a repetition unless a blank stands between
            score = (only_blank if token == last else total) + frame[token]
            if is_parent[index]:
                child = child_in(first_child, sibling, last_tokens, node, token)
                if child != NOWHERE and position[child] != NOWHERE:
                    place = position[child]
                    after[place, 2] = log_add(after[place, 2], score)
                    after[place, 0] = log_add(after[place, 0], score)
                    continue
            if score < needed or score == -np.inf:
                continue
            worth = score + base
            if has_text:
                end_score = tree.end_score[node]
                worth += token_score(text, tree.ngram_state[node], tree.trie_node[node], end_score, token)
                if text.has_hotwords:
                    worth += text.hot_scores[tree.hot_state[node], token]
            ext_index[count], ext_token[count], ext_ctc[count], ext_score[count] = index, token, score, worth
            count += 1
    return count


@njit(cache=True, nogil=True)
def keep_from(scores: np.ndarray, beam: int, threshold: float) -> float:
    """The score from which on hypotheses are kept: the `beam`-th best one, or the best one and the threshold."""
    lowest = float(scores.max()) + threshold
    if len(scores) > beam:
        lowest = max(lowest, float(np.partition(scores, len(scores) - beam)[len(scores) - beam]))
    return lowest


@njit(cache=True, nogil=True)
def prefix_beam_search(
    log_probs: np.ndarray, settings: Settings, text: TextScores
) -> tuple[Tree, np.ndarray, np.ndarray]:
    """Search (S, V) log-probabilities.

    Returns the tree, the nodes of the prefixes kept at the end, and their log-probabilities of CTC (W,).
    """
    num_frames, vocab_size = log_probs.shape
    width, bonus = settings.beam, settings.length_bonus
    tree = new_tree(num_frames * width + 1, text)
    num_nodes = 1
    beam, new_beam = np.zeros(width, np.int32), np.zeros(width, np.int32)
    ctc, after, new_ctc = np.empty((width, 3)), np.empty((width, 3)), np.empty((width, 3))
    size = 1
    tree.position[0] = 0
    ctc[0] = 0.0, 0.0, -np.inf
    tokens = np.empty(vocab_size, np.int32)
    room = width * vocab_size
    extensions = Extensions(np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room), np.empty(room))
    scores = np.empty(width + room)
    for t in range(num_frames):
        frame = log_probs[t]
        num_tokens = tokens_to_try(frame, settings.token_threshold, tokens)
        stay(frame, tree, beam[:size], ctc, after)
        scores[:size] = after[:size, 0] + tree.text[beam[:size]]
        # kept are `width` at most: with so many already, a newcomer must beat one of them
        hopeless = scores[:size].max() + settings.beam_threshold
        if size == width:
            hopeless = max(hopeless, scores[:size].min())
        count = extend(frame, tokens[:num_tokens], text, tree, beam[:size], ctc, after, bonus, hopeless, extensions)
        scores[:size] = after[:size, 0] + tree.text[beam[:size]]
        scores[size : size + count] = extensions.score[:count]
        lowest = keep_from(scores[: size + count], width, settings.beam_threshold)
        num_kept = 0
        for index in range(size):
            tree.position[beam[index]] = NOWHERE
        for index in range(size + count):
            if scores[index] < lowest or scores[index] == -np.inf or num_kept == width:
                continue
            if index < size:
                node = beam[index]
                new_ctc[num_kept] = after[index]
            else:
                chosen = index - size
                parent, token = beam[extensions.beam_index[chosen]], extensions.token[chosen]
                node = child_in(tree.first_child, tree.sibling, tree.token, parent, token)
                if node == NOWHERE:
                    node = num_nodes
                    num_nodes += 1
                    add_child(text, tree, node, parent, token, bonus)
                new_ctc[num_kept] = extensions.ctc[chosen], -np.inf, extensions.ctc[chosen]
            new_beam[num_kept] = node
            tree.position[node] = num_kept
            num_kept += 1
        size = num_kept
        beam, new_beam = new_beam, beam
        ctc, new_ctc = new_ctc, ctc
    return tree, beam[:size], ctc[:size, 0]


@njit(cache=True, nogil=True)
def ends(text: TextScores, tree: Tree, beam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What ending the sentence after each prefix (W,) adds: language model (weighted) and hotwords."""
    lm, hot = np.zeros(len(beam)), np.zeros(len(beam))
    for index in range(len(beam)):
        node = beam[index]
        lm[index] = text.weight * end_sentence(text, tree.ngram_state[node], tree.trie_node[node])
        if text.has_hotwords:
            hot[index] = text.hot_ends[tree.hot_state[node]]
    return lm, hot
