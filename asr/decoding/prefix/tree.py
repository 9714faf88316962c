"""The prefixes of a compiled beam search: a tree of all that were ever kept, each with what its text alone decides."""

from __future__ import annotations

from typing import Any

import numpy as np

from asr.decoding.prefix.text_scores import ROOT, WORDS, TextScores, end_word
from asr.system.jit import compiled, compiled_part

NOWHERE = -1

NODE = np.dtype(
    [
        ("parent", np.int32),
        ("token", np.int32),  # the last one
        ("first_child", np.int32),
        ("sibling", np.int32),
        ("place", np.int32),  # in the beam, or NOWHERE
        ("length", np.int32),  # tokens
        ("ngram_state", np.int64),
        ("trie_node", np.int64),
        ("hot_state", np.int64),
        ("end_state", np.int64),
        ("end_score", np.float64),  # what ending the current word would add to the language model's score
        ("lm", np.float64),  # weighted, so far
        ("hot", np.float64),  # so far
        ("text", np.float64),  # lm + hot + length bonus
        ("future", np.int64),  # the same for prefixes alike in all that decides what scores their continuations
    ],
    align=True,
)
"""A prefix. Node 0 is the empty one; a parent always comes before its children."""

CANDIDATE = np.dtype(
    [
        ("place", np.int32),  # in the beam, of the prefix that stays or is made longer
        ("token", np.int32),  # by which it is made longer, NOWHERE if it stays
        ("ngram_state", np.int64),
        ("trie_node", np.int64),
        ("hot_state", np.int64),
        ("leads", np.bool_),  # it is the best one of its future
        ("ctc", np.float64),
        ("lm", np.float64),  # what the token adds, weighted
        ("score", np.float64),
        ("future", np.int64),
    ],
    align=True,
)
"""A prefix that may be in the next beam."""


def new_tree(text: TextScores, blank: int) -> np.ndarray:
    """A tree that holds the empty prefix alone."""
    tree = np.zeros(1, NODE)
    for link in ("parent", "first_child", "sibling", "place"):
        tree[link] = NOWHERE
    tree["token"] = blank
    tree["ngram_state"] = tree["end_state"] = text.start_state
    tree["trie_node"] = ROOT
    tree["hot_state"] = text.hot_start
    return tree


def regrown(tree: np.ndarray, nodes: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray, int]:
    """A copy with room for more prefixes, without those that lead to none of the nodes (W,).

    Returns it, the nodes in it, and how many it has.
    """
    grown = np.empty(len(tree) + room, NODE)
    if len(tree) == 1:
        grown[0] = tree[0]
        return grown, nodes.copy(), 1
    nodes = nodes.copy()
    num_nodes = prune(tree, nodes, np.empty(len(tree), np.int32), grown)
    return grown, nodes, num_nodes


@compiled
def prune(tree: np.ndarray, nodes: np.ndarray, places: np.ndarray, kept: np.ndarray) -> int:
    """Copy to `kept` the nodes of a tree (M,) that lead to some (W,), which become places in it; returns their number.

    `places` (M,) is filled in.
    """
    for node in range(len(tree)):
        places[node] = NOWHERE
    for index in range(len(nodes)):
        node = int(nodes[index])
        while node != NOWHERE and places[node] == NOWHERE:
            places[node] = 0
            node = int(tree[node].parent)
    count = 0
    for node in range(len(tree)):
        if places[node] == NOWHERE:
            continue
        places[node] = count
        kept[count] = tree[node]
        kept[count].first_child = kept[count].sibling = kept[count].place = NOWHERE
        if count:
            parent = places[tree[node].parent]
            kept[count].parent = parent
            kept[count].sibling = kept[parent].first_child
            kept[parent].first_child = count
        count += 1
    for index in range(len(nodes)):
        nodes[index] = places[nodes[index]]
    return count


@compiled_part
def child_of(tree: np.ndarray, node: int, token: int) -> int:
    """The node of a prefix and one more token if it was ever made, else NOWHERE."""
    child: int = tree[node].first_child
    while child != NOWHERE and tree[child].token != token:
        child = tree[child].sibling
    return child


@compiled_part
def add_child(tree: np.ndarray, child: int, node: int, candidate: Any, text: TextScores, bonus: float) -> None:
    """Make `child` the node of a prefix made longer as a candidate says."""
    above, new = tree[node], tree[child]
    new.parent = node
    new.token = candidate.token
    new.first_child = NOWHERE
    new.sibling = above.first_child
    above.first_child = child
    new.place = NOWHERE
    new.length = above.length + 1
    new.ngram_state, new.trie_node, new.hot_state = candidate.ngram_state, candidate.trie_node, candidate.hot_state
    new.end_score, new.end_state = 0.0, candidate.ngram_state
    if text.kind == WORDS:
        new.end_score, new.end_state = end_word(text, new.ngram_state, new.trie_node)
    new.lm = above.lm + candidate.lm
    new.hot = above.hot
    if text.has_hotwords:
        new.hot += text.hot_scores[above.hot_state, candidate.token]
    new.text = new.lm + new.hot + bonus * new.length
    new.future = candidate.future


@compiled
def write_tokens(tree: np.ndarray, nodes: np.ndarray, tokens: np.ndarray) -> None:
    """Write the tokens of prefixes (W,) one after the other."""
    end = 0
    for index in range(len(nodes)):
        node = nodes[index]
        end += tree[node].length
        place = end
        while node != 0:
            place -= 1
            tokens[place] = tree[node].token
            node = tree[node].parent
