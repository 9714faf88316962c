"""CTC prefix beam search of one utterance, compiled. See `ctc_prefix_beam` for what it computes.

Plain loops over arrays that the caller made: nothing here allocates, and records keep together what is used together.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from asr.decoding.prefix.selection import choose
from asr.decoding.prefix.text_scores import NONE, TextScores, add_token, end_sentence
from asr.decoding.prefix.tree import NOWHERE, add_child, child_of
from asr.system.jit import compiled, compiled_part

LOG_2 = math.log(2.0)  # the most that adding something smaller can add to a logarithm
MIX = 1000003  # joins small numbers to one; two that clash by chance would only share a place in the beam

PREFIX = np.dtype(
    [
        ("node", np.int32),  # in the tree
        ("token", np.int32),  # the last one
        ("first", np.int32),  # place of a prefix of the beam that is one token longer, or NOWHERE
        ("following", np.int32),  # place of another one that is as much longer than the same prefix
        ("total", np.float64),  # log-probability of all paths,
        ("blank", np.float64),  # of those that end in a blank,
        ("spoken", np.float64),  # and of those that end in the last token
        ("earlier_total", np.float64),  # the first two a frame before; -inf if it was not in the beam then
        ("earlier_blank", np.float64),
        ("next_total", np.float64),  # the same after a frame that leaves it as it is
        ("next_blank", np.float64),
        ("next_spoken", np.float64),
        ("end_lm", np.float64),  # what ending the sentence here adds to the language model's score, weighted,
        ("end_hot", np.float64),  # and to that of the hotwords; both once the last frame is through
    ],
    align=True,
)
"""A prefix of the beam."""


class Settings(NamedTuple):
    """Width, bonus for each token, threshold (-inf for none) and the id of blank."""

    width: int
    length_bonus: float
    beam_threshold: float  # of a score less the best one of its frame
    blank: int


class Scratch(NamedTuple):
    """Room to work in."""

    candidates: np.ndarray  # CANDIDATE (N,): a beam, and as often as the most tokens that are tried in a frame
    chosen: np.ndarray  # int32 (W,)
    table: np.ndarray  # int32 (power of 2, at least 2 N)
    worth: np.ndarray  # float64 (N,)


@compiled_part
def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b)) without overflow; -inf is a probability of 0."""
    if a < b:
        a, b = b, a
    if b < a - 40.0 or b == -np.inf:  # too small to change a float64
        return a
    return a + math.log1p(math.exp(b - a))


@compiled_part
def link_children(tree: np.ndarray, beam: np.ndarray, size: int) -> None:
    """For each of `size` prefixes of the beam a list of those one token longer beside it."""
    for place in range(size):
        beam[place].first = NOWHERE
        beam[place].token = tree[beam[place].node].token
    for place in range(size):
        node = beam[place].node
        parent = tree[tree[node].parent].place if node != 0 else NOWHERE
        if parent != NOWHERE:
            beam[place].following = beam[parent].first
            beam[parent].first = place


@compiled_part
def stay(frame: np.ndarray, blank: int, beam: np.ndarray, size: int) -> None:
    """Prefixes after a frame that leaves them as they are, or makes another one of them.

    A blank or the last token once more leave a prefix; the last token after a prefix of the beam may make one.
    """
    for place in range(size):
        beam[place].next_blank = beam[place].total + frame[blank]
        beam[place].next_spoken = beam[place].spoken + frame[beam[place].token]
    for place in range(size):
        child = beam[place].first
        while child != NOWHERE:
            # a token right after itself is a repetition unless a blank stands between
            before = beam[place].blank if beam[child].token == beam[place].token else beam[place].total
            beam[child].next_spoken = log_add(beam[child].next_spoken, before + frame[beam[child].token])
            child = beam[child].following
    for place in range(size):
        beam[place].next_total = log_add(beam[place].next_blank, beam[place].next_spoken)


@compiled_part
def collect_stays(tree: np.ndarray, beam: np.ndarray, size: int, candidates: np.ndarray) -> float:
    """Write down the prefixes as they stay after a frame; returns the best score."""
    best = -np.inf
    for place in range(size):
        candidate, node = candidates[place], tree[beam[place].node]
        candidate.place, candidate.token = place, NOWHERE
        candidate.score = beam[place].next_total + node.text
        candidate.future = node.future
        best = max(best, candidate.score)
    return best


@compiled_part
def collect_extensions(
    frame: np.ndarray,
    previous: np.ndarray,
    tries: np.ndarray,
    text: TextScores,
    tree: np.ndarray,
    beam: np.ndarray,
    size: int,
    bonus: float,
    hopeless: float,
    candidates: np.ndarray,
) -> int:
    """Make every prefix longer by every token of `tries`, unless the longer one is in the beam, too.

    Also counts the paths on which the token began in the `previous` frame, where it was not tried or not kept. Writes
    them down behind the `size` that stay, but for those that must score less than `hopeless`; returns how many
    candidates there are.
    """
    count = size
    for place in range(size):
        prefix, node = beam[place], tree[beam[place].node]
        base = node.text + bonus
        # A look-ahead only ever falls; a word that ends can turn out better than its look-ahead.
        most = max(0.0, text.weight * node.end_score)
        if text.has_hotwords:
            most += text.hot_best[node.hot_state]
        needed = hopeless - base - most
        for token in tries:
            again = token == prefix.token
            before = prefix.blank if again else prefix.total
            missed = (prefix.earlier_blank if again else prefix.earlier_total) + previous[token]
            score = max(before, missed) + LOG_2 + frame[token]
            if score < needed or score == -np.inf:
                continue
            child = prefix.first
            while child != NOWHERE and beam[child].token != token:
                child = beam[child].following
            if child != NOWHERE:
                continue
            lm, state, trie_node, hot_state = 0.0, node.ngram_state, node.trie_node, node.hot_state
            score = log_add(before, missed) + frame[token]
            worth = score + base
            if text.kind != NONE:
                lm, state, trie_node = add_token(text, state, trie_node, node.end_score, node.end_state, token)
                lm *= text.weight
                worth += lm
            if text.has_hotwords:
                worth += text.hot_scores[hot_state, token]
                hot_state = text.hot_next[hot_state, token]
            candidate = candidates[count]
            candidate.place, candidate.token = place, token
            candidate.ngram_state, candidate.trie_node, candidate.hot_state = state, trie_node, hot_state
            candidate.ctc, candidate.lm, candidate.score = score, lm, worth
            candidate.future = ((state * MIX + trie_node) * MIX + hot_state) * MIX + token + 1
            count += 1
    return count


@compiled_part
def drop_hopeless(candidates: np.ndarray, count: int, threshold: float) -> int:
    """Keep candidates whose scores are not too far below the best; returns how many there are."""
    lowest = -np.inf
    for at in range(count):
        lowest = max(lowest, candidates[at].score)
    lowest += threshold
    num = 0
    for at in range(count):
        if candidates[at].score >= lowest and candidates[at].score != -np.inf:
            if num != at:
                candidates[num] = candidates[at]
            num += 1
    return num


@compiled_part
def keep(
    candidate: Any,
    text: TextScores,
    tree: np.ndarray,
    num_nodes: int,
    beam: np.ndarray,
    bonus: float,
    prefix: Any,
) -> int:
    """Fill in a prefix of the next beam as a candidate says; returns how many nodes the tree has then."""
    old = beam[candidate.place]
    prefix.node = old.node
    if candidate.token == NOWHERE:
        prefix.total, prefix.blank, prefix.spoken = old.next_total, old.next_blank, old.next_spoken
        prefix.earlier_total, prefix.earlier_blank = old.total, old.blank
        return num_nodes
    prefix.total, prefix.blank, prefix.spoken = candidate.ctc, -np.inf, candidate.ctc
    prefix.earlier_total, prefix.earlier_blank = -np.inf, -np.inf
    node = child_of(tree, old.node, candidate.token)
    if node == NOWHERE:
        node = num_nodes
        num_nodes += 1
        add_child(tree, node, old.node, candidate, text, bonus)
    prefix.node = node
    return num_nodes


@compiled_part
def end_sentences(tree: np.ndarray, beam: np.ndarray, size: int, text: TextScores) -> None:
    """Fill in what ending the sentence adds after each of `size` prefixes."""
    for place in range(size):
        node = tree[beam[place].node]
        beam[place].end_lm = text.weight * end_sentence(text, node.ngram_state, node.trie_node)
        beam[place].end_hot = text.hot_ends[node.hot_state] if text.has_hotwords else 0.0


@compiled
def prefix_beam_search(
    log_probs: np.ndarray,
    previous: np.ndarray,
    tries: np.ndarray,
    begins: np.ndarray,
    settings: Settings,
    text: TextScores,
    tree: np.ndarray,
    num_nodes: int,
    beams: np.ndarray,
    size: int,
    scratch: Scratch,
) -> tuple[int, int]:
    """Search (S, V) log-probabilities, going on from `size` prefixes, beams[0], after a frame `previous` (V,).

    The tokens to try in frame t are tries[begins[t] : begins[t + 1]]. The tree, of which `num_nodes` are in use, needs
    room for `width` more prefixes a frame. The beam after the last frame is beams[S % 2] (2, W); returns the number of
    nodes in use, and the size of the beam.
    """
    candidates, chosen, table, worth = scratch
    width, bonus = settings.width, settings.length_bonus
    for t in range(len(log_probs)):
        frame, beam, new_beam = log_probs[t], beams[t % 2], beams[(t + 1) % 2]
        for place in range(size):
            tree[beam[place].node].place = place
        link_children(tree, beam, size)
        stay(frame, settings.blank, beam, size)
        hopeless = collect_stays(tree, beam, size, candidates) + settings.beam_threshold
        count = collect_extensions(
            frame, previous, tries[begins[t] : begins[t + 1]], text, tree, beam, size, bonus, hopeless, candidates
        )
        count = drop_hopeless(candidates, count, settings.beam_threshold)
        for place in range(size):
            tree[beam[place].node].place = NOWHERE
        size = choose(candidates, count, width, table, worth, chosen)
        for place in range(size):
            num_nodes = keep(candidates[chosen[place]], text, tree, num_nodes, beam, bonus, new_beam[place])
        previous = frame
    end_sentences(tree, beams[len(log_probs) % 2], size, text)
    return num_nodes, size
