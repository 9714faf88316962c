"""The prefixes of a compiled beam search: a tree of all that were ever kept, each with what its text alone decides."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from asr.decoding.prefix.text_scores import WORDS, TextScores, end_sentence, end_word
from asr.system.jit import compiled, compiled_part

NOWHERE = -1


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
