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
MIX = 1000003  # joins small numbers to one; two that clash by chance would only share a place in the beam


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
    future: (
        np.ndarray
    )  # prefixes that are alike in all that decides what scores their continuations have this in common
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
        np.zeros(size, np.int64), np.zeros(size), np.zeros(size), np.zeros(size, np.int32), np.zeros(size),
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
def future_of(text: TextScores, tree: Tree, node: int, token: int) -> int:
    """The `future` of a prefix and one more token: token, language model and hotword states in one number."""
    state, before, hot = np.int64(tree.ngram_state[node]), tree.trie_node[node], 0
    if text.kind == WORDS:
        if text.opens_word[token]:
            state, before = np.int64(tree.end_state[node]), ROOT
        before = spell(text, before, token)
    elif text.kind == TOKENS:
        state = np.int64(next_word(text, tree.ngram_state[node], text.token_words[token])[1])
    if text.has_hotwords:
        hot = text.hot_next[tree.hot_state[node], token]
    return ((state * MIX + before) * MIX + hot) * MIX + token + 1


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
    tree.future[child] = future_of(text, tree, node, token)
    tree.length[child] = tree.length[node] + 1
    tree.text[child] = tree.lm[child] + tree.hot[child] + bonus * tree.length[child]


@njit(cache=True, nogil=True)
def tokens_to_try(log_probs: np.ndarray, threshold: float, tokens: np.ndarray) -> int:
    """Fill in the tokens likely enough in a frame (V,), the best one in any case; returns how many there are.

    Blank counts among the best, but is filled in never.
    """
    count, best = 0, BLANK
    for token in range(1, len(log_probs)):
        if token in (SOS, EOS):
            continue
        if log_probs[token] > log_probs[best]:
            best = token
        if log_probs[token] >= threshold and log_probs[token] != -np.inf:
            tokens[count] = token
            count += 1
    if count == 0 and best != BLANK:
        tokens[0] = best
        count = 1
    return count


@njit(cache=True, nogil=True)
def link_children(tree: Tree, beam: np.ndarray, first: np.ndarray, following: np.ndarray) -> None:
    """For each prefix of the beam (W,) a list of those one token longer beside it: `first`, then `following` each."""
    first[: len(beam)] = NOWHERE
    for index in range(len(beam)):
        node = beam[index]
        parent = tree.position[tree.parent[node]] if node != 0 else NOWHERE
        if parent != NOWHERE:
            following[index] = first[parent]
            first[parent] = index


@njit(cache=True, nogil=True)
def stay(
    frame: np.ndarray, tokens: np.ndarray, ctc: np.ndarray, first: np.ndarray, following: np.ndarray, after: np.ndarray
) -> None:
    """Prefixes with last `tokens` (W,) after a frame that leaves them as they are, or makes another one of them.

    A blank or the last token once more leave a prefix; the last token after a prefix of the beam may make one. Columns
    of `ctc` and `after` (W, 3): log-probabilities of all paths, of those that end in a blank, and of those that end in
    the last token.
    """
    for index in range(len(tokens)):
        after[index, 1] = ctc[index, 0] + frame[BLANK]
        after[index, 2] = ctc[index, 2] + frame[tokens[index]]
    for index in range(len(tokens)):
        child = first[index]
        while child != NOWHERE:
            # a token right after itself is a repetition unless a blank stands between
            made = (ctc[index, 1] if tokens[child] == tokens[index] else ctc[index, 0]) + frame[tokens[child]]
            after[child, 2] = log_add(after[child, 2], made)
            child = following[child]
    for index in range(len(tokens)):
        after[index, 0] = log_add(after[index, 1], after[index, 2])


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
    tries: np.ndarray,
    text: TextScores,
    tree: Tree,
    beam: np.ndarray,
    tokens: np.ndarray,
    ctc: np.ndarray,
    links: tuple[np.ndarray, np.ndarray],
    bonus: float,
    hopeless: float,
    extensions: Extensions,
) -> int:
    """Make every prefix of the beam longer by every token of `tries`, unless the longer one is in the beam, too.

    Fills in `extensions`, but for those that must score less than `hopeless`; returns how many there are.
    """
    has_text = text.kind != 0 or text.has_hotwords
    ext_index, ext_token, ext_ctc, ext_score = extensions
    first, following = links
    count = 0
    for index in range(len(beam)):
        node, last, total, only_blank = beam[index], tokens[index], ctc[index, 0], ctc[index, 1]
        base = tree.text[node] + bonus
        needed = hopeless - base - best_gain(text, tree, node)
        for token in tries:
            score = (only_blank if token == last else total) + frame[token]
            if score < needed or score == -np.inf:
                continue
            child = first[index]
            while child != NOWHERE and tokens[child] != token:
                child = following[child]
            if child != NOWHERE:
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
def best_of(places: np.ndarray, scores: np.ndarray, num: int) -> np.ndarray:
    """The `num` of some places whose scores are best; of equals the earlier ones."""
    if len(places) <= num or num == 0:
        return places[:num]
    lowest = np.partition(scores[places], len(places) - num)[len(places) - num]
    kept = np.empty(num, np.int64)
    count = 0
    for exactly in (False, True):
        for place in places:
            if count < num and (scores[place] == lowest if exactly else scores[place] > lowest):
                kept[count] = place
                count += 1
    return kept


@njit(cache=True, nogil=True)
def choose(scores: np.ndarray, futures: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of at most `width` scores to keep: first the best of each future, then the best of the others.

    Of prefixes with the same future, one will stay the best whatever comes; the others are of use in n-best lists, but
    should not crowd out what may win.
    """
    if len(scores) <= width:
        return np.arange(len(scores)), np.empty(0, np.int64)
    size = 2
    while size < 2 * len(scores):
        size *= 2
    table = np.full(size, NOWHERE, np.int64)
    is_best = np.ones(len(scores), np.bool_)
    for place in range(len(scores)):
        slot = (futures[place] ^ (futures[place] >> 17)) & (size - 1)
        while table[slot] != NOWHERE and futures[table[slot]] != futures[place]:
            slot = (slot + 1) & (size - 1)
        rival = table[slot]
        if rival == NOWHERE:
            table[slot] = place
        elif scores[place] > scores[rival]:
            is_best[rival] = False
            table[slot] = place
        else:
            is_best[place] = False
    leaders = best_of(np.flatnonzero(is_best), scores, width)
    return leaders, best_of(np.flatnonzero(~is_best), scores, width - len(leaders))


@njit(cache=True, nogil=True)
def promising(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Places of the scores that are not too far below the best."""
    lowest = scores.max() + threshold
    places = np.empty(len(scores), np.int64)
    count = 0
    for place in range(len(scores)):
        if scores[place] >= lowest and scores[place] != -np.inf:
            places[count] = place
            count += 1
    return places[:count]


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
    first, following = np.empty(width, np.int32), np.empty(width, np.int32)
    size = 1
    tree.position[0] = 0
    ctc[0] = 0.0, 0.0, -np.inf
    tries = np.empty(vocab_size, np.int32)
    room = width * vocab_size
    extensions = Extensions(np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room), np.empty(room))
    for t in range(num_frames):
        frame = log_probs[t]
        num_tries = tokens_to_try(frame, settings.token_threshold, tries)
        last_tokens = tree.token[beam[:size]]
        link_children(tree, beam[:size], first, following)
        stay(frame, last_tokens, ctc, first, following, after)
        stays = after[:size, 0] + tree.text[beam[:size]]
        hopeless = stays.max() + settings.beam_threshold
        count = extend(
            frame, tries[:num_tries], text, tree, beam[:size], last_tokens, ctc, (first, following), bonus, hopeless,
            extensions,
        )  # fmt: skip
        scores = np.concatenate((stays, extensions.score[:count]))
        good = promising(scores, settings.beam_threshold)
        futures = np.empty(len(good), np.int64)
        if len(good) > width:
            for rank in range(len(good)):
                place = good[rank]
                if place < size:
                    futures[rank] = tree.future[beam[place]]
                else:
                    parent = beam[extensions.beam_index[place - size]]
                    futures[rank] = future_of(text, tree, parent, extensions.token[place - size])
        for index in range(size):
            tree.position[beam[index]] = NOWHERE
        num_kept = 0
        for group in choose(scores[good], futures, width):
            for rank in group:
                place = good[rank]
                if place < size:
                    node = beam[place]
                    new_ctc[num_kept] = after[place]
                else:
                    chosen = place - size
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
def spelled(tree: Tree, beam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of all prefixes (W,) on end, and how many each has."""
    lengths = tree.length[beam]
    tokens = np.empty(lengths.sum(), np.int32)
    end = 0
    for index in range(len(beam)):
        end += lengths[index]
        node, place = beam[index], end
        while node != 0:
            place -= 1
            tokens[place] = tree.token[node]
            node = tree.parent[node]
    return tokens, lengths


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
