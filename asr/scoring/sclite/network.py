"""Alignment of texts that leave a choice: networks of words, of whose paths the best fitting counts.

Every pair of arcs, one of each network, is a cell of a table; a step goes along an arc of the reference (deletion), of
the hypothesis (insertion) or of both (hit, substitution). The table has as many cells as the product of the arcs,
instead of one table for each choice of alternatives (Sankoff & Kruskal 1983, "Time warps, string edits, and
macromolecules"; so does NIST's sclite).
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import pairwise, product

from asr.scoring.alignment import DELETION, HIT, INSERTION, LEFT_OUT, SUBSTITUTION


@dataclass(frozen=True)
class Costs:
    """What steps cost; what is free costs a little, so that saying a word is preferred to leaving it out."""

    substitution: int
    gap: int  # a deletion or insertion
    left_out: int  # of a word that may be
    nothing: int = 1  # an arc without a word

    def of_gap(self, arc: Arc) -> int:
        """Of going along an arc of one side only."""
        if arc.word is None:
            return self.nothing
        return self.left_out if arc.may_be_left_out else self.gap

    def of_pair(self, arc: Arc, other: Arc) -> int:
        """Of going along one of each side; pairs with nothing are never worth it."""
        if arc.word is None or other.word is None:
            return 2 * self.gap
        return 0 if arc.word == other.word else self.substitution


COSTS = {"levenshtein": Costs(1000, 1000, 1), "sclite": Costs(4000, 3000, 2000)}


@dataclass(frozen=True)
class Arc:
    """A word from one node to another; None stands for nothing."""

    start: int
    end: int
    word: str | None
    may_be_left_out: bool = False


class Network:
    """Arcs from node 0 to node 1 without a cycle; other nodes have any other numbers. Ties go to the earlier arc."""

    def __init__(self, arcs: Iterable[Arc]) -> None:
        self.arcs = list(arcs)
        self.arcs_into: dict[int, list[Arc]] = defaultdict(list)
        before = TopologicalSorter[int]({0: (), 1: ()})
        for arc in self.arcs:
            self.arcs_into[arc.end].append(arc)
            before.add(arc.end, arc.start)
        self.nodes = list(before.static_order())
        assert not self.arcs or (self.nodes[0], self.nodes[-1]) == (0, 1)

    @classmethod
    def of_words(cls, words: Sequence[str]) -> Network:
        """The network with one path."""
        return cls(path(words, 0, 1, first_new=2))

    @property
    def words(self) -> list[str] | None:
        """The words of the one path, or None where there is a choice."""
        is_path = all(len(arcs) == 1 for arcs in self.arcs_into.values())
        if not is_path or any(arc.may_be_left_out for arc in self.arcs):
            return None
        place = {node: number for number, node in enumerate(self.nodes)}
        return [arc.word for arc in sorted(self.arcs, key=lambda arc: place[arc.end]) if arc.word is not None]

    def chains(self, most: int) -> Iterator[tuple[Arc, ...]]:
        """All chains of 1 to `most` arcs, each with a word."""
        arcs_from: dict[int, list[Arc]] = defaultdict(list)
        for arc in self.arcs:
            arcs_from[arc.start].append(arc)
        chains: list[tuple[Arc, ...]] = [(arc,) for arc in self.arcs if arc.word is not None]
        for length in range(1, most + 1):
            yield from chains
            if length < most:
                longer = [(*chain, arc) for chain in chains for arc in arcs_from[chain[-1].end]]
                chains = [chain for chain in longer if chain[-1].word is not None]


def path(words: Sequence[str], start: int, end: int, first_new: int) -> list[Arc]:
    """Arcs for words one after the other, over new nodes; a single one without a word if there are none."""
    if not words:
        return [Arc(start, end, None)]
    nodes = [start, *range(first_new, first_new + len(words) - 1), end]
    return [Arc(*ends, word) for ends, word in zip(pairwise(nodes), words, strict=True)]


class _Steps:
    """The arcs of a network in an order to go through them, and which ones lead to each. Number 0 is the beginning."""

    def __init__(self, network: Network) -> None:
        place = {node: number for number, node in enumerate(network.nodes)}
        self.arcs = sorted(network.arcs, key=lambda arc: place[arc.start])
        numbers = {id(arc): number for number, arc in enumerate(self.arcs, 1)}
        into = {node: [numbers[id(arc)] for arc in arcs] for node, arcs in network.arcs_into.items()}
        self.before = [into.get(arc.start, [0]) for arc in self.arcs]
        self.last = into.get(1, [0])


_Back = tuple[int, int]  # numbers of arcs


def align_networks(reference: Network, hypothesis: Network, costs: Costs) -> tuple[list[str], list[str], str]:
    """The words of both sides along the cheapest pair of paths, and the operations between them.

    Of steps that cost the same, a pair of words comes before an insertion and that before a deletion; of alternatives,
    the one that is written first. So it is in sclite.
    """
    source, target = _Steps(reference), _Steps(hypothesis)
    table = [array("q", [0])]
    for row in range(len(source.arcs) + 1):
        table += [array("q")] if row else []
        for column in range(len(table[row]), len(target.arcs) + 1):
            table[row].append(_best(table, source, target, row, column, costs)[0])
    row, column = min(product(source.last, target.last), key=lambda at: table[at[0]][at[1]])
    columns: list[tuple[Arc | None, Arc | None]] = []
    while row or column:
        _, (row_before, column_before) = _best(table, source, target, row, column, costs)
        columns.append(
            (
                source.arcs[row - 1] if row_before != row else None,
                target.arcs[column - 1] if column_before != column else None,
            )
        )
        row, column = row_before, column_before
    return _read(reversed(columns))


def _best(
    table: list[array[int]], source: _Steps, target: _Steps, row: int, column: int, costs: Costs
) -> tuple[int, _Back]:
    """The cost of the cheapest way that ends with these arcs, and the arcs before its last step."""
    rows = source.before[row - 1] if row else []
    columns = target.before[column - 1] if column else []
    ways: list[tuple[int, _Back]] = []
    if row and column:
        cost = costs.of_pair(source.arcs[row - 1], target.arcs[column - 1])
        ways += [(table[before][other] + cost, (before, other)) for before in rows for other in columns]
    if column:
        cost = costs.of_gap(target.arcs[column - 1])
        ways += [(table[row][other] + cost, (row, other)) for other in columns]
    if row:
        cost = costs.of_gap(source.arcs[row - 1])
        ways += [(table[before][column] + cost, (before, column)) for before in rows]
    return min(ways, key=lambda way: way[0])


def _read(columns: Iterable[tuple[Arc | None, Arc | None]]) -> tuple[list[str], list[str], str]:
    source, target, operations = [], [], []
    for arc, other in columns:
        word, other_word = arc.word if arc else None, other.word if other else None
        if word is not None:
            source.append(word)
        if other_word is not None:
            target.append(other_word)
        if word is None and other_word is None:
            continue
        if word is None:
            operations.append(INSERTION)
        elif other_word is None:
            operations.append(LEFT_OUT if arc and arc.may_be_left_out else DELETION)
        else:
            operations.append(HIT if word == other_word else SUBSTITUTION)
    return source, target, "".join(operations)
