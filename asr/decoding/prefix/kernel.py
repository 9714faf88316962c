"""CTC prefix beam search of one utterance, compiled. See `ctc_prefix_beam` for what it computes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from asr.decoding.prefix.selection import choose
from asr.decoding.prefix.text_scores import NONE, TextScores, add_token
from asr.decoding.prefix.tree import NOWHERE, Extensions, Tree, add_child, child_in
from asr.system.jit import compiled, compiled_part

MIX = 1000003  # joins small numbers to one; two that clash by chance would only share a place in the beam


class Settings(NamedTuple):
    """Widths, thresholds (-inf for none) and the ids of roles (-1 where a vocabulary has none)."""

    beam: int
    length_bonus: float
    token_threshold: float  # of a token's log-probability in a frame
    beam_threshold: float  # of a score less the best one of its frame
    blank: int
    sos: int
    eos: int


class Pool(NamedTuple):
    """Prefixes among which the next beam is chosen."""

    places: np.ndarray  # below W of those that stay, above of extensions
    scores: np.ndarray
    futures: np.ndarray


@compiled_part
def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b)) without overflow; -inf is a probability of 0."""
    if a < b:
        a, b = b, a
    if b < a - 40.0 or b == -np.inf:  # too small to change a float64
        return a
    return a + math.log1p(math.exp(b - a))


@compiled_part
def tokens_to_try(log_probs: np.ndarray, settings: Settings, tokens: np.ndarray) -> int:
    """Fill in the tokens likely enough in a frame (V,), the best one in any case; returns how many there are.

    Blank counts among the best, but is filled in never; start and end of sentence are no labels of CTC.
    """
    threshold, blank, sos, eos = settings.token_threshold, settings.blank, settings.sos, settings.eos
    count, best, best_score = 0, blank, log_probs[blank]
    for token in range(len(log_probs)):
        score = log_probs[token]
        if (score <= best_score and score < threshold) or token in (blank, sos, eos):
            continue
        if score > best_score:
            best, best_score = token, score
        if score >= threshold and score != -np.inf:
            tokens[count] = token
            count += 1
    if count == 0 and best != blank:
        tokens[0] = best
        count = 1
    return count


@compiled_part
def link_children(tree: Tree, beam: np.ndarray, first: np.ndarray, following: np.ndarray) -> None:
    """For each prefix of the beam (W,) a list of those one token longer beside it: `first`, then `following` each."""
    for index in range(len(beam)):
        first[index] = NOWHERE
    for index in range(len(beam)):
        node = beam[index]
        parent = tree.position[tree.parent[node]] if node != 0 else NOWHERE
        if parent != NOWHERE:
            following[index] = first[parent]
            first[parent] = index


@compiled_part
def stay(
    frame: np.ndarray,
    blank: int,
    tokens: np.ndarray,
    ctc: np.ndarray,
    first: np.ndarray,
    following: np.ndarray,
    after: np.ndarray,
) -> None:
    """Prefixes with last `tokens` (W,) after a frame that leaves them as they are, or makes another one of them.

    A blank or the last token once more leave a prefix; the last token after a prefix of the beam may make one. Columns
    of `ctc` and `after` (W, 3): log-probabilities of all paths, of those that end in a blank, and of those that end in
    the last token.
    """
    for index in range(len(tokens)):
        after[index, 1] = ctc[index, 0] + frame[blank]
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


@compiled_part
def best_gain(text: TextScores, tree: Tree, node: int) -> float:
    """The most that any token after a prefix can add to the scores of language model and hotwords.

    A look-ahead only ever falls; a word that ends can turn out better than its look-ahead.
    """
    gain = max(0.0, text.weight * float(tree.end_score[node]))
    return gain + float(text.hot_best[tree.hot_state[node]]) if text.has_hotwords else gain


@compiled_part
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
    first, following = links
    ext_index, ext_token, ext_ctc, ext_score, ext_lm, ext_state, ext_node, ext_hot, ext_future = extensions
    has_lm, has_hotwords, weight = text.kind != NONE, text.has_hotwords, text.weight
    hot_next, hot_scores = text.hot_next, text.hot_scores
    count = 0
    for index in range(len(beam)):
        node, last, total, only_blank = beam[index], tokens[index], ctc[index, 0], ctc[index, 1]
        base = tree.text[node] + bonus
        needed = hopeless - base - best_gain(text, tree, node)
        state, place, hot = tree.ngram_state[node], tree.trie_node[node], tree.hot_state[node]
        end_score, end_state = tree.end_score[node], tree.end_state[node]
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
            lm, next_state, next_place, next_hot = 0.0, state, place, hot
            if has_lm:
                lm, next_state, next_place = add_token(text, state, place, end_score, end_state, token)
                lm *= weight
                worth += lm
            if has_hotwords:
                worth += hot_scores[hot, token]
                next_hot = hot_next[hot, token]
            ext_index[count], ext_token[count], ext_ctc[count], ext_score[count] = index, token, score, worth
            ext_lm[count], ext_state[count], ext_node[count], ext_hot[count] = lm, next_state, next_place, next_hot
            ext_future[count] = ((np.int64(next_state) * MIX + next_place) * MIX + next_hot) * MIX + token + 1
            count += 1
    return count


@compiled_part
def best_stay(tree: Tree, beam: np.ndarray, after: np.ndarray, stays: np.ndarray) -> float:
    """Fill in the scores of the prefixes (W,) as they stay after a frame; returns the best one."""
    best = -np.inf
    for index in range(len(beam)):
        stays[index] = after[index, 0] + tree.text[beam[index]]
        best = max(best, stays[index])
    return best


@compiled_part
def promising(
    tree: Tree, beam: np.ndarray, stays: np.ndarray, extensions: Extensions, count: int, threshold: float, pool: Pool
) -> int:
    """Collect prefixes that stay (W,), and `count` of those made longer, whose scores are not too far below the best.

    Returns how many there are.
    """
    places, scores, futures = pool
    lowest = -np.inf
    for index in range(len(beam)):
        lowest = max(lowest, stays[index])
    for at in range(count):
        lowest = max(lowest, extensions.score[at])
    lowest += threshold
    num = 0
    for index in range(len(beam)):
        if stays[index] >= lowest and stays[index] != -np.inf:
            places[num], scores[num], futures[num] = index, stays[index], tree.future[beam[index]]
            num += 1
    for at in range(count):
        if extensions.score[at] >= lowest and extensions.score[at] != -np.inf:
            places[num], scores[num], futures[num] = len(beam) + at, extensions.score[at], extensions.future[at]
            num += 1
    return num


@compiled_part
def keep(
    chosen: np.ndarray,
    places: np.ndarray,
    text: TextScores,
    tree: Tree,
    beam: np.ndarray,
    after: np.ndarray,
    extensions: Extensions,
    bonus: float,
    num_nodes: int,
    new_beam: np.ndarray,
    new_ctc: np.ndarray,
) -> int:
    """Fill the new beam from those chosen of a pool with such places.

    Returns how many nodes the tree has now.
    """
    first_child, sibling, tokens = tree.first_child, tree.sibling, tree.token
    for rank in range(len(chosen)):
        place = places[chosen[rank]]
        if place < len(beam):
            new_beam[rank] = beam[place]
            new_ctc[rank, 0], new_ctc[rank, 1], new_ctc[rank, 2] = after[place, 0], after[place, 1], after[place, 2]
            continue
        at = place - len(beam)
        parent = beam[extensions.beam_index[at]]
        node = child_in(first_child, sibling, tokens, parent, extensions.token[at])
        if node == NOWHERE:
            node = num_nodes
            num_nodes += 1
            add_child(text, tree, node, parent, extensions, at, bonus)
        new_beam[rank] = node
        new_ctc[rank, 0], new_ctc[rank, 1], new_ctc[rank, 2] = extensions.ctc[at], -np.inf, extensions.ctc[at]
    return num_nodes


@compiled
def prefix_beam_search(
    log_probs: np.ndarray,
    settings: Settings,
    text: TextScores,
    tree: Tree,
    num_nodes: int,
    old_beam: np.ndarray,
    old_ctc: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Search (S, V) log-probabilities, going on from a beam (W,) with the columns (W, 3) of `stay`.

    The tree, of which `num_nodes` are in use, needs room for `beam` more prefixes a frame. Returns the nodes of the
    prefixes kept at the end and their columns.
    """
    num_frames, vocab_size = log_probs.shape
    width, bonus = settings.beam, settings.length_bonus
    size = len(old_beam)
    beam, new_beam = np.zeros(width, np.int32), np.zeros(width, np.int32)
    ctc, after, new_ctc = np.empty((width, 3)), np.empty((width, 3)), np.empty((width, 3))
    for index in range(size):
        beam[index] = old_beam[index]
        ctc[index, 0], ctc[index, 1], ctc[index, 2] = old_ctc[index, 0], old_ctc[index, 1], old_ctc[index, 2]
    first, following = np.empty(width, np.int32), np.empty(width, np.int32)
    last, stays, chosen = np.empty(width, np.int32), np.empty(width), np.empty(width, np.int64)
    tries = np.empty(vocab_size, np.int32)
    room = width * vocab_size
    extensions = Extensions(
        np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room), np.empty(room), np.empty(room),
        np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int64),
    )  # fmt: skip
    pool = Pool(np.empty(width + room, np.int64), np.empty(width + room), np.empty(width + room, np.int64))
    for t in range(num_frames if size else 0):
        frame = log_probs[t]
        num_tries = tokens_to_try(frame, settings, tries)
        for index in range(size):
            last[index] = tree.token[beam[index]]
        link_children(tree, beam[:size], first, following)
        stay(frame, settings.blank, last[:size], ctc, first, following, after)
        hopeless = best_stay(tree, beam[:size], after, stays) + settings.beam_threshold
        count = extend(
            frame, tries[:num_tries], text, tree, beam[:size], last[:size], ctc, (first, following), bonus, hopeless,
            extensions,
        )  # fmt: skip
        num = promising(tree, beam[:size], stays, extensions, count, settings.beam_threshold, pool)
        num = choose(pool.scores[:num], pool.futures[:num], width, chosen)
        for index in range(size):
            tree.position[beam[index]] = NOWHERE
        num_nodes = keep(
            chosen[:num], pool.places, text, tree, beam[:size], after, extensions, bonus, num_nodes, new_beam, new_ctc
        )
        size = num
        for index in range(size):
            tree.position[new_beam[index]] = index
        beam, new_beam = new_beam, beam
        ctc, new_ctc = new_ctc, ctc
        if size == 0:  # no token has a probability, nor has blank
            break
    return beam[:size], ctc[:size]
