"""Alignment of texts that leave a choice: networks of words, of whose paths the best fitting counts.

Every pair of nodes, one of each network, is a cell of a table; a step goes along an arc of the reference (deletion), of
the hypothesis (insertion) or of both (hit, substitution). The table has as many cells as the product of the nodes,
instead of one table for each choice of alternatives (Sankoff & Kruskal 1983, "Time warps, string edits, and
macromolecules"; so does NIST's sclite).
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import pairwise

from asr.scoring.alignment import DELETION, HIT, INSERTION, LEFT_OUT, SUBSTITUTION


@dataclass(frozen=True)
class Costs:
    """What steps cost; what is free costs a little, so that saying a word is preferred to leaving it out."""

    substitution: int
    gap: int  # a deletion or insertion
    left_out: int  # of a word that may be
    nothing: int = 1  # an arc without a word


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


_Step = tuple[int, int, int, Arc | None, Arc | None]  # cost, node of the reference, of the hypothesis, arcs gone along


def align_networks(reference: Network, hypothesis: Network, costs: Costs) -> tuple[list[str], list[str], str]:
    """The words of both sides along the cheapest pair of paths, and the operations between them.

    Of steps that cost the same, a pair of words comes before an insertion and that before a deletion, as in sclite.
    """
    places = {node: number for number, node in enumerate(hypothesis.nodes)}
    table: dict[int, array[int]] = {}

    def steps(source: int, target: int) -> Iterator[_Step]:
        into_source, into_target = reference.arcs_into.get(source, ()), hypothesis.arcs_into.get(target, ())
        for arc in into_source:
            row = table[arc.start]
            for other in into_target:
                if arc.word is not None and other.word is not None:
                    cost = 0 if arc.word == other.word else costs.substitution
                    yield row[places[other.start]] + cost, arc.start, other.start, arc, other
        for other in into_target:
            cost = costs.gap if other.word is not None else costs.nothing
            yield table[source][places[other.start]] + cost, source, other.start, None, other
        for arc in into_source:
            cost = costs.nothing if arc.word is None else costs.left_out if arc.may_be_left_out else costs.gap
            yield table[arc.start][places[target]] + cost, arc.start, target, arc, None

    for source in reference.nodes:
        table[source] = row = array("q")
        for target in hypothesis.nodes:
            row.append(min((step[0] for step in steps(source, target)), default=0))
    source, target = 1, 1
    columns = []
    while (source, target) != (0, 0):
        _, source, target, arc, other = min(steps(source, target), key=lambda step: step[0])
        columns.append((arc, other))
    return _read(reversed(columns))


def _read(columns: Iterable[tuple[Arc | None, Arc | None]]) -> tuple[list[str], list[str], str]:
    source, target, operations = [], [], []
    for arc, other in columns:
        said, heard = arc.word if arc else None, other.word if other else None
        if said is not None:
            source.append(said)
        if heard is not None:
            target.append(heard)
        if said is None and heard is None:
            continue
        if said is None:
            operations.append(INSERTION)
        elif heard is None:
            operations.append(LEFT_OUT if arc and arc.may_be_left_out else DELETION)
        else:
            operations.append(HIT if said == heard else SUBSTITUTION)
    return source, target, "".join(operations)
