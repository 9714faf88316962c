"""CTC prefix beam search of one utterance, compiled. See `ctc_prefix_beam` for what it computes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from asr.decoding.prefix.selection import choose, promising
from asr.decoding.prefix.text_scores import (
    NONE,
    WORDS,
    TextScores,
    add_token,
    end_sentence,
    end_word,
)
from asr.system.jit import compiled

NOWHERE = -1
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
    lm: np.ndarray  # what the token adds, weighted
    ngram_state: np.ndarray
    trie_node: np.ndarray
    hot_state: np.ndarray
    future: np.ndarray


@compiled
def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b)) without overflow; -inf is a probability of 0."""
    if a < b:
        a, b = b, a
    if b < a - 40.0 or b == -np.inf:  # too small to change a float64
        return a
    return a + math.log1p(math.exp(b - a))


def new_tree(text: TextScores, blank: int) -> Tree:
    """A tree that holds the empty prefix alone."""
    nowhere, zero = np.array([NOWHERE], np.int32), np.zeros(1, np.int32)
    start, hot_start = np.array([text.start_state], np.int32), np.array([text.hot_start], np.int32)
    nothing = np.zeros(1)
    return Tree(
        parent=nowhere,
        token=np.array([blank], np.int32),
        first_child=nowhere,
        sibling=nowhere,
        position=nowhere,
        ngram_state=start,
        trie_node=zero,
        end_score=nothing,
        end_state=start,
        hot_state=hot_start,
        future=np.zeros(1, np.int64),
        lm=nothing,
        hot=nothing,
        length=zero,
        text=nothing,
    )


def regrown(tree: Tree, beam: np.ndarray, room: int) -> tuple[Tree, np.ndarray, int]:
    """A copy with room for more prefixes, without those that lead to none of the beam (W,).

    Returns it, the beam's nodes in it, and how many nodes it has.
    """
    kept, links = pruned(tree.parent, beam)
    num_nodes = len(kept)
    fields = {}
    for name, values in tree._asdict().items():
        fields[name] = np.zeros(num_nodes + room, values.dtype)
        fields[name][:num_nodes] = values[kept]
    for name, link in zip(("parent", "first_child", "sibling"), links[:3], strict=True):
        fields[name][:num_nodes] = link
        fields[name][num_nodes:] = NOWHERE
    new_beam = links[3][: len(beam)]
    fields["position"][:] = NOWHERE
    fields["position"][new_beam] = np.arange(len(new_beam))
    return Tree(**fields), new_beam, num_nodes


@compiled
def pruned(parent: np.ndarray, beam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nodes (M,) that lead to those of the beam (W,), in their order; a parent always comes before its children.

    Also what they become, (4, max(M, W)): parents, first children, siblings, and the nodes of the beam.
    """
    places = np.full(len(parent), NOWHERE, np.int32)
    for node in beam:
        while node != NOWHERE and places[node] == NOWHERE:
            places[node] = 0
            node = parent[node]
    kept = np.flatnonzero(places != NOWHERE)
    places[kept] = np.arange(len(kept))
    links = np.full((4, max(len(kept), len(beam))), NOWHERE, np.int32)
    for place in range(1, len(kept)):
        above = places[parent[kept[place]]]
        links[0, place] = above
        links[2, place] = links[1, above]
        links[1, above] = place
    for index in range(len(beam)):
        links[3, index] = places[beam[index]]
    return kept, links


@compiled
def child_in(first_child: np.ndarray, sibling: np.ndarray, tokens: np.ndarray, node: int, token: int) -> int:
    """The node of a prefix and one more token if it was ever made, else NOWHERE."""
    child = int(first_child[node])
    while child != NOWHERE and tokens[child] != token:
        child = int(sibling[child])
    return child


@compiled
def add_child(
    text: TextScores, tree: Tree, child: int, node: int, extensions: Extensions, at: int, bonus: float
) -> None:
    """Make `child` the node of a prefix made longer as extension number `at` says."""
    token = extensions.token[at]
    tree.parent[child] = node
    tree.token[child] = token
    tree.sibling[child] = tree.first_child[node]
    tree.first_child[node] = child
    tree.lm[child] = tree.lm[node] + extensions.lm[at]
    tree.ngram_state[child] = extensions.ngram_state[at]
    tree.trie_node[child] = extensions.trie_node[at]
    if text.kind == WORDS:
        tree.end_score[child], tree.end_state[child] = end_word(text, tree.ngram_state[child], tree.trie_node[child])
    if text.has_hotwords:
        tree.hot[child] = tree.hot[node] + text.hot_scores[tree.hot_state[node], token]
        tree.hot_state[child] = extensions.hot_state[at]
    tree.future[child] = extensions.future[at]
    tree.length[child] = tree.length[node] + 1
    tree.text[child] = tree.lm[child] + tree.hot[child] + bonus * tree.length[child]


@compiled
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


@compiled
def link_children(tree: Tree, beam: np.ndarray, first: np.ndarray, following: np.ndarray) -> None:
    """For each prefix of the beam (W,) a list of those one token longer beside it: `first`, then `following` each."""
    first[: len(beam)] = NOWHERE
    for index in range(len(beam)):
        node = beam[index]
        parent = tree.position[tree.parent[node]] if node != 0 else NOWHERE
        if parent != NOWHERE:
            following[index] = first[parent]
            first[parent] = index


@compiled
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


@compiled
def best_gain(text: TextScores, tree: Tree, node: int) -> float:
    """The most that any token after a prefix can add to the scores of language model and hotwords.

    A look-ahead only ever falls; a word that ends can turn out better than its look-ahead.
    """
    gain = max(0.0, text.weight * float(tree.end_score[node]))
    return gain + float(text.hot_best[tree.hot_state[node]]) if text.has_hotwords else gain


@compiled
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


@compiled
def keep(
    chosen: np.ndarray,
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
    """Fill the new beam from what is chosen: places below W of prefixes that stay, above of those made longer.

    Returns how many nodes the tree has now.
    """
    first_child, sibling, tokens = tree.first_child, tree.sibling, tree.token
    for rank in range(len(chosen)):
        place = chosen[rank]
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
    beam[:size], ctc[:size] = old_beam, old_ctc
    first, following = np.empty(width, np.int32), np.empty(width, np.int32)
    tries = np.empty(vocab_size, np.int32)
    room = width * vocab_size
    extensions = Extensions(
        np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room), np.empty(room), np.empty(room),
        np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int64),
    )  # fmt: skip
    for t in range(num_frames if size else 0):
        frame = log_probs[t]
        num_tries = tokens_to_try(frame, settings, tries)
        last_tokens = tree.token[beam[:size]]
        link_children(tree, beam[:size], first, following)
        stay(frame, settings.blank, last_tokens, ctc, first, following, after)
        stays = after[:size, 0] + tree.text[beam[:size]]
        hopeless = stays.max() + settings.beam_threshold
        count = extend(
            frame, tries[:num_tries], text, tree, beam[:size], last_tokens, ctc, (first, following), bonus, hopeless,
            extensions,
        )  # fmt: skip
        scores = np.concatenate((stays, extensions.score[:count]))
        good = promising(scores, settings.beam_threshold)
        futures = np.concatenate((tree.future[beam[:size]], extensions.future[:count]))
        chosen = good[choose(scores[good], futures[good], width)]
        tree.position[beam[:size]] = NOWHERE
        num_nodes = keep(chosen, text, tree, beam[:size], after, extensions, bonus, num_nodes, new_beam, new_ctc)
        size = len(chosen)
        tree.position[new_beam[:size]] = np.arange(size)
        beam, new_beam = new_beam, beam
        ctc, new_ctc = new_ctc, ctc
        if size == 0:  # no token has a probability, nor has blank
            break
    return beam[:size], ctc[:size]


@compiled
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


@compiled
def ends(text: TextScores, tree: Tree, beam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What ending the sentence after each prefix (W,) adds: language model (weighted) and hotwords."""
    lm, hot = np.zeros(len(beam)), np.zeros(len(beam))
    for index in range(len(beam)):
        node = beam[index]
        lm[index] = text.weight * end_sentence(text, tree.ngram_state[node], tree.trie_node[node])
        if text.has_hotwords:
            hot[index] = text.hot_ends[tree.hot_state[node]]
    return lm, hot
