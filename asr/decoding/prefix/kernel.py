"""CTC prefix beam search of one utterance, compiled. See `ctc_prefix_beam` for what it computes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from asr.decoding.prefix.text_scores import (
    NONE,
    ROOT,
    WORDS,
    TextScores,
    end_sentence,
    end_word,
    lookahead,
    next_word,
    spell,
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
    return a if b == -np.inf else a + np.log1p(np.exp(b - a))


@njit(cache=True, nogil=True)
def new_tree(size: int, text: TextScores) -> Tree:
    """A tree with room for so many prefixes that holds the empty one."""
    tree = Tree(
        np.full(size, NOWHERE, np.int32), np.full(size, BLANK, np.int32), np.full(size, NOWHERE, np.int32),
        np.full(size, NOWHERE, np.int32), np.full(size, NOWHERE, np.int32), np.zeros(size, np.int32),
        np.zeros(size, np.int32), np.zeros(size), np.zeros(size, np.int32), np.zeros(size, np.int32),
        np.zeros(size), np.zeros(size), np.zeros(size),
    )  # fmt: skip
    tree.ngram_state[0] = tree.end_state[0] = text.start_state
    tree.hot_state[0] = text.hot_start
    return tree


@njit(cache=True, nogil=True)
def token_score(text: TextScores, tree: Tree, node: int, token: int) -> tuple[float, float]:
    """What a token after a prefix adds: language model (weighted) and hotwords."""
    lm = 0.0
    if text.kind == WORDS:
        if text.opens_word[token]:
            lm = tree.end_score[node] + lookahead(text, spell(text, ROOT, token))
        else:
            before = tree.trie_node[node]
            lm = lookahead(text, spell(text, before, token)) - lookahead(text, before)
    elif text.kind != NONE:
        lm = next_word(text, tree.ngram_state[node], text.token_words[token])[0]
    hot = text.hot_scores[tree.hot_state[node], token] if text.has_hotwords else 0.0
    return text.weight * lm, hot


@njit(cache=True, nogil=True)
def child_of(text: TextScores, tree: Tree, num_nodes: int, node: int, token: int, bonus: float) -> int:
    """The node of a prefix and one more token: the one that was made before, or else node `num_nodes`, made now."""
    child = tree.first_child[node]
    while child != NOWHERE:
        if tree.token[child] == token:
            return child
        child = tree.sibling[child]
    child = num_nodes
    tree.parent[child] = node
    tree.token[child] = token
    tree.sibling[child] = tree.first_child[node]
    tree.first_child[node] = child
    lm, hot = token_score(text, tree, node, token)
    tree.lm[child] = tree.lm[node] + lm
    tree.hot[child] = tree.hot[node] + hot
    tree.text[child] = tree.text[node] + lm + hot + bonus
    if text.kind == WORDS:
        opens = text.opens_word[token]
        state = tree.end_state[node] if opens else tree.ngram_state[node]
        tree.ngram_state[child] = state
        tree.trie_node[child] = spell(text, ROOT if opens else tree.trie_node[node], token)
        tree.end_score[child], tree.end_state[child] = end_word(text, state, tree.trie_node[child])
    elif text.kind != NONE:
        tree.ngram_state[child] = next_word(text, tree.ngram_state[node], text.token_words[token])[1]
    if text.has_hotwords:
        tree.hot_state[child] = text.hot_next[tree.hot_state[node], token]
    return child


@njit(cache=True, nogil=True)
def tokens_to_try(log_probs: np.ndarray, threshold: float, tokens: np.ndarray) -> int:
    """Fill in the tokens likely enough in a frame (V,), the best one in any case; returns how many there are."""
    count, best = 0, 1
    for token in range(1, len(log_probs)):
        if token == SOS or token == EOS:
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

    `ctc` and `after` (W, 2) are log-probabilities of all paths that end in a blank, and in the last token.
    """
    for index in range(len(beam)):
        after[index, 0] = log_add(ctc[index, 0], ctc[index, 1]) + frame[BLANK]
        after[index, 1] = ctc[index, 1] + frame[tree.token[beam[index]]] if beam[index] != 0 else -np.inf


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
    extensions: Extensions,
) -> int:
    """Make every prefix of the beam longer by every token; what makes a prefix of the beam adds to that one.

    Fills in `extensions`; returns how many there are.
    """
    is_parent = np.zeros(len(beam), np.bool_)
    for node in beam:
        if node != 0 and tree.position[tree.parent[node]] != NOWHERE:
            is_parent[tree.position[tree.parent[node]]] = True
    count = 0
    for index in range(len(beam)):
        node = beam[index]
        total = log_add(ctc[index, 0], ctc[index, 1])
        for token in tokens:
            # a token right after itself is a repetition unless a blank stands between
            score = (ctc[index, 0] if token == tree.token[node] else total) + frame[token]
            if score == -np.inf:
                continue
            if is_parent[index]:
                child = tree.first_child[node]
                while child != NOWHERE and tree.token[child] != token:
                    child = tree.sibling[child]
                if child != NOWHERE and tree.position[child] != NOWHERE:
                    place = tree.position[child]
                    after[place, 1] = log_add(after[place, 1], score)
                    continue
            lm, hot = token_score(text, tree, node, token)
            extensions.beam_index[count] = index
            extensions.token[count] = token
            extensions.ctc[count] = score
            extensions.score[count] = score + tree.text[node] + lm + hot + bonus
            count += 1
    return count


@njit(cache=True, nogil=True)
def keep_from(scores: np.ndarray, beam: int, threshold: float) -> float:
    """The score from which on hypotheses are kept: the `beam`-th best one, or the best one and the threshold."""
    lowest = scores.max() + threshold
    if len(scores) > beam:
        lowest = max(lowest, np.partition(scores, len(scores) - beam)[len(scores) - beam])
    return lowest


@njit(cache=True, nogil=True)
def prefix_beam_search(
    log_probs: np.ndarray, settings: Settings, text: TextScores
) -> tuple[Tree, np.ndarray, np.ndarray]:
    """Search (S, V) log-probabilities.

    Returns the tree, the nodes of the prefixes kept at the end, and their log-probabilities of CTC (W, 2).
    """
    num_frames, vocab_size = log_probs.shape
    width = settings.beam
    tree = new_tree(num_frames * width + 1, text)
    num_nodes = 1
    beam = np.zeros(1, np.int32)
    tree.position[0] = 0
    ctc = np.zeros((1, 2))
    ctc[0, 1] = -np.inf
    tokens = np.empty(vocab_size, np.int32)
    room = width * vocab_size
    extensions = Extensions(np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room), np.empty(room))
    for t in range(num_frames):
        frame = log_probs[t]
        num_tokens = tokens_to_try(frame, settings.token_threshold, tokens)
        after = np.empty((len(beam), 2))
        stay(frame, tree, beam, ctc, after)
        count = extend(
            frame, tokens[:num_tokens], text, tree, beam, ctc, after, settings.length_bonus, extensions
        )
        scores = np.empty(len(beam) + count)
        for index in range(len(beam)):
            scores[index] = log_add(after[index, 0], after[index, 1]) + tree.text[beam[index]]
        scores[len(beam) :] = extensions.score[:count]
        lowest = keep_from(scores, width, settings.beam_threshold)
        kept = np.empty(width, np.int32)
        kept_ctc = np.empty((width, 2))
        num_kept = 0
        for index in range(len(scores)):
            if scores[index] < lowest or scores[index] == -np.inf or num_kept == width:
                continue
            if index < len(beam):
                kept[num_kept] = beam[index]
                kept_ctc[num_kept] = after[index]
            else:
                chosen = index - len(beam)
                parent = beam[extensions.beam_index[chosen]]
                node = child_of(text, tree, num_nodes, parent, extensions.token[chosen], settings.length_bonus)
                num_nodes = max(num_nodes, node + 1)
                kept[num_kept] = node
                kept_ctc[num_kept, 0] = -np.inf
                kept_ctc[num_kept, 1] = extensions.ctc[chosen]
            num_kept += 1
        tree.position[beam] = NOWHERE
        beam = kept[:num_kept]
        ctc = kept_ctc[:num_kept]
        for index in range(num_kept):
            tree.position[beam[index]] = index
    return tree, beam, ctc


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
