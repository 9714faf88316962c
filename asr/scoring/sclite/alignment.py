"""Alignment of words as NIST's sclite makes it: a substitution costs 4, a deletion or insertion 3.

With these costs two errors (a deletion and an insertion, 6) never stand where one substitution (4) would do, but two
substitutions (8) give way to a deletion, an insertion and a hit (6). Hence the counts may differ from those of a
Levenshtein alignment, with fewer substitutions and, now and then, more errors in all. Where alignments cost the same,
sclite prefers, from the end of the text, a pair of words to an insertion and an insertion to a deletion.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import numpy as np
import numpy.typing as npt

from asr.scoring.alignment import DELETION, HIT, INSERTION, SUBSTITUTION

SUBSTITUTION_COST, GAP_COST = 4, 3
_PAIR, _INSERT, _DELETE = range(3)


def sclite(reference: Sequence[str], hypothesis: Sequence[str]) -> str:
    """The operations between two lists of words, with a table of len(reference) * len(hypothesis) bytes."""
    endings = zip(reversed(reference), reversed(hypothesis), strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], endings))
    rows, columns = len(reference) - same, len(hypothesis) - same  # equal endings always pair up
    steps = _steps(reference[:rows], hypothesis[:columns])
    operations = []
    while rows or columns:
        step = _INSERT if not rows else _DELETE if not columns else steps[rows - 1][columns - 1]
        if step == _PAIR:
            operations.append(HIT if reference[rows - 1] == hypothesis[columns - 1] else SUBSTITUTION)
        else:
            operations.append(INSERTION if step == _INSERT else DELETION)
        rows -= step != _INSERT
        columns -= step != _DELETE
    return "".join(reversed(operations)) + HIT * same


def _steps(reference: Sequence[str], hypothesis: Sequence[str]) -> list[bytes]:
    """The last step of the cheapest alignment of every pair of beginnings."""
    numbers: dict[str, int] = {}
    source, target = (
        np.array([numbers.setdefault(word, len(numbers)) for word in words], dtype=np.int64)
        for words in (reference, hypothesis)
    )
    gaps = GAP_COST * np.arange(len(target) + 1)
    costs: npt.NDArray[np.int64] = gaps
    steps = []
    for row, word in enumerate(source, 1):
        pair = costs[:-1] + np.where(target == word, 0, SUBSTITUTION_COST)
        delete = costs[1:] + GAP_COST
        # What an insertion costs depends on the cell to the left: a running minimum once the gaps are taken off.
        before = np.concatenate(([GAP_COST * row], np.minimum(pair, delete)))
        best = np.minimum.accumulate(before - gaps) + gaps
        insert = best[:-1] + GAP_COST
        step = np.where(pair <= np.minimum(insert, delete), _PAIR, np.where(delete < insert, _DELETE, _INSERT))
        steps.append(step.astype(np.uint8).tobytes())
        costs = best
    return steps
