"""What each of several ranks loads: its rows of every batch to train on, or whole batches to evaluate.

A sampler forms batches without knowing how many ranks there are; only then are they dealt out. So an epoch holds the
same batches, and every utterance once, whatever the number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np

from asr.data.manifest.table import Durations
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

    def __init__(self, sampler: Sampler, durations: Durations, rank: int, num_ranks: int) -> None:
        assert 0 <= rank < num_ranks
        self.sampler = sampler
        self.durations = durations  # seconds, of all utterances
        self.rank = rank
        self.num_ranks = num_ranks

    def batches(self, epoch: int) -> Sequence[Sequence[int]]:
        """As many as the other sampler has, each split when it is asked for."""
        batches = self.sampler.batches(epoch)
        return batches if self.num_ranks == 1 else _Shares(batches, self._share)

    def _share(self, batch: Sequence[int]) -> list[int]:
        rows = share_rows(self.durations[np.asarray(batch)].tolist(), self.rank, self.num_ranks)
        return [batch[row] for row in rows]


class _Shares(Sequence[Sequence[int]]):
    """Something made of every batch, one by one: an epoch of a large corpus has millions."""

    def __init__(self, batches: Sequence[Sequence[int]], share: Callable[[Sequence[int]], Sequence[int]]) -> None:
        self._batches = batches
        self._share = share

    def __len__(self) -> int:
        return len(self._batches)

    @overload
    def __getitem__(self, position: int) -> Sequence[int]: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[Sequence[int]]: ...

    def __getitem__(self, position: int | slice) -> Sequence[int] | Sequence[Sequence[int]]:
        if isinstance(position, slice):
            return _Shares(self._batches[position], self._share)
        return self._share(self._batches[position])


class BatchesOfRank:
    """A sampler: every `num_ranks`-th batch of another one, for evaluation, where ranks need not keep step."""

    def __init__(self, sampler: Sampler, rank: int, num_ranks: int) -> None:
        assert 0 <= rank < num_ranks
        self.sampler = sampler
        self.rank = rank
        self.num_ranks = num_ranks

    def batches(self, epoch: int) -> Sequence[Sequence[int]]:
        """Numbers `rank`, `rank + num_ranks` and so on."""
        return self.sampler.batches(epoch)[self.rank :: self.num_ranks]
