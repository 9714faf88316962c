"""What each of several ranks loads: its rows of every batch to train on, or whole batches to evaluate.

A sampler forms batches without knowing how many ranks there are; only then are they dealt out. So an epoch holds the
same batches, and every utterance once, whatever the number of ranks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asr.data.sampler import Sampler


def share_rows(durations: Sequence[float], rank: int, num_ranks: int) -> list[int]:
    """Which rows of a batch with these durations one rank loads, in ascending order; [] if there are too few.

    Longest first, each row goes to the rank that has least to do so far, the lower one of equals (Graham, 1969: no
    rank gets more than 4/3 of what the best split would give it).
    """
    loads = [0.0] * num_ranks
    rows = []
    for row in sorted(range(len(durations)), key=lambda row: (-durations[row], row)):
        chosen = min(range(num_ranks), key=loads.__getitem__)
        loads[chosen] += durations[row]
        if chosen == rank:
            rows.append(row)
    return sorted(rows)


class RowsOfRank:
    """A sampler: of every batch of another one the rows of one rank. A batch with too few rows is empty for some."""

    def __init__(
        self, sampler: Sampler, durations: Sequence[float] | NDArray[np.float64], rank: int, num_ranks: int
    ) -> None:
        assert 0 <= rank < num_ranks
        self.sampler = sampler
        self.durations = durations  # seconds, of all utterances
        self.rank = rank
        self.num_ranks = num_ranks

    def batches(self, epoch: int) -> list[list[int]]:
        """As many as the other sampler has."""
        return [self._share(batch) for batch in self.sampler.batches(epoch)]

    def _share(self, batch: list[int]) -> list[int]:
        if self.num_ranks == 1:
            return batch
        rows = share_rows([float(self.durations[index]) for index in batch], self.rank, self.num_ranks)
        return [batch[row] for row in rows]


class BatchesOfRank:
    """A sampler: every `num_ranks`-th batch of another one, for evaluation, where ranks need not keep step."""

    def __init__(self, sampler: Sampler, rank: int, num_ranks: int) -> None:
        assert 0 <= rank < num_ranks
        self.sampler = sampler
        self.rank = rank
        self.num_ranks = num_ranks

    def batches(self, epoch: int) -> list[list[int]]:
        """Numbers `rank`, `rank + num_ranks` and so on."""
        return self.sampler.batches(epoch)[self.rank :: self.num_ranks]
