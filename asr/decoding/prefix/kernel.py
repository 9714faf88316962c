"""CTC prefix beam search of one utterance, compiled. See `ctc_prefix_beam` for what it computes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from asr.decoding.prefix.selection import choose
from asr.decoding.prefix.text_scores import (
    NONE,
    WORDS,
    TextScores,
    add_token,
    end_sentence,
    end_word,
)
from asr.system.jit import compiled, compiled_part

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


class Pool(NamedTuple):
    """Prefixes among which the next beam is chosen."""

    places: np.ndarray  # below W of those that stay, above of extensions
    scores: np.ndarray
    futures: np.ndarray


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


@compiled_part
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
    for name, link in zip(("parent", "first_child", "sibling"), links[:3, :num_nodes], strict=True):
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
    places, kept = np.empty(len(parent), np.int32), np.empty(len(parent), np.int64)
    for node in range(len(parent)):
        places[node] = NOWHERE
    for index in range(len(beam)):
        node = int(beam[index])
        while node != NOWHERE and places[node] == NOWHERE:
            places[node] = 0
            node = int(parent[node])
    count = 0
    for node in range(len(parent)):
        if places[node] != NOWHERE:
            places[node], kept[count] = count, node
            count += 1
    links = np.empty((4, max(count, len(beam))), np.int32)
    for place in range(count):
        links[0, place], links[1, place], links[2, place] = NOWHERE, NOWHERE, NOWHERE
        if place:
            above = places[parent[kept[place]]]
            links[0, place], links[2, place] = above, links[1, above]
            links[1, above] = place
    for index in range(len(beam)):
        links[3, index] = places[beam[index]]
    return kept[:count], links


@compiled_part
def child_in(first_child: np.ndarray, sibling: np.ndarray, tokens: np.ndarray, node: int, token: int) -> int:
    """The node of a prefix and one more token if it was ever made, else NOWHERE."""
    child = int(first_child[node])
    while child != NOWHERE and tokens[child] != token:
        child = int(sibling[child])
    return child


@compiled_part
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


@compiled
def spelled(
    parent: np.ndarray, token: np.ndarray, length: np.ndarray, beam: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of all prefixes (W,) of a tree on end, and how many each has."""
    lengths = np.empty(len(beam), np.int32)
    total = 0
    for index in range(len(beam)):
        lengths[index] = length[beam[index]]
        total += lengths[index]
    tokens = np.empty(total, np.int32)
    end = 0
    for index in range(len(beam)):
        end += lengths[index]
        node, place = beam[index], end
        while node != 0:
            place -= 1
            tokens[place] = token[node]
            node = parent[node]
    return tokens, lengths


@compiled
def ends(text: TextScores, ngram_state: np.ndarray, trie_node: np.ndarray, hot_state: np.ndarray) -> np.ndarray:
    """What ending the sentence adds after prefixes of such states (W,): (2, W), language model (weighted), hotwords."""
    added = np.empty((2, len(ngram_state)))
    for index in range(len(ngram_state)):
        added[0, index] = text.weight * end_sentence(text, ngram_state[index], trie_node[index])
        added[1, index] = text.hot_ends[hot_state[index]] if text.has_hotwords else 0.0
    return added
