"""Which utterances go into which batch: by similar duration under a budget of seconds."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, overload

import numpy as np
from numpy.typing import NDArray

from asr.data.manifest.table import Durations
from asr.data.permutation import SHUFFLED, Permutation
from asr.system.runtime import derive_rng, derive_seed

SHORTEST = 0.01  # seconds; shorter utterances count as this long, for the logarithm's sake
POOL = SHUFFLED  # utterances sorted together; larger corpora are taken pool by pool


class Sampler(Protocol):
    """Decides what is read together."""

    def batches(self, epoch: int) -> Sequence[Sequence[int]]:
        """Indices of utterances, batch by batch; a pure function of the epoch."""


class RememberingSampler:
    """Gives another sampler's batches and keeps those of the last epoch asked for: to form them may take seconds."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._kept: tuple[int, Sequence[Sequence[int]]] | None = None

    def batches(self, epoch: int) -> Sequence[Sequence[int]]:
        """See `Sampler`."""
        if self._kept is None or self._kept[0] != epoch:
            self._kept = epoch, self._sampler.batches(epoch)
        return self._kept[1]


@dataclass(frozen=True)
class Pool:
    """The batches of utterances that were sorted together."""

    order: NDArray[np.int64]  # utterances, batch after batch
    cuts: NDArray[np.int64]  # (batches + 1,) where each batch begins in `order`, and where the last ends
    turns: NDArray[np.int64]  # the order in which batches come

    def __len__(self) -> int:
        return len(self.turns)

    def batch(self, position: int) -> list[int]:
        """The batch that comes as number `position`, from 0."""
        turn = self.turns[position]
        indices: list[int] = self.order[self.cuts[turn] : self.cuts[turn + 1]].tolist()
        return indices


class BatchPlan(Sequence[list[int]]):
    """The batches of an epoch, formed pool by pool as they are asked for; only the last pool is held.

    The place of a batch depends on how many the pools before hold, so these are formed too, but once; `len` forms all.
    """

    def __init__(self, num_pools: int, form: Callable[[int], Pool]) -> None:
        """`form` makes the pool of a number, always the same."""
        self.num_pools = num_pools
        self._form = form
        self._ends: list[int] = []  # batches up to the end of each pool, as far as known
        self._held: tuple[int, Pool] | None = None

    def __len__(self) -> int:
        while len(self._ends) < self.num_pools:
            self._pool(len(self._ends))
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, position: int) -> list[int]: ...

    @overload
    def __getitem__(self, position: slice) -> list[list[int]]: ...

    def __getitem__(self, position: int | slice) -> list[int] | list[list[int]]:
        if isinstance(position, slice):
            return [self[number] for number in range(len(self))[position]]
        if position < 0:
            position += len(self)
        while len(self._ends) < self.num_pools and (not self._ends or self._ends[-1] <= position):
            self._pool(len(self._ends))
        number = bisect_right(self._ends, position)
        if position < 0 or number == len(self._ends):
            raise IndexError(f"no batch {position}")
        return self._pool(number).batch(position - (self._ends[number - 1] if number else 0))

    def _pool(self, number: int) -> Pool:
        """A pool, which is at most the next one that is not known yet."""
        if self._held is None or self._held[0] != number:
            self._held = number, self._form(number)
        pool = self._held[1]
        if number == len(self._ends):
            self._ends.append((self._ends[-1] if self._ends else 0) + len(pool))
        return pool


class BucketSampler:
    """Batches of utterances of similar duration, a pure function of (seed, epoch).

    Every utterance comes exactly once per epoch. The longest duration in a batch times its size is at most
    `max_batch_seconds`, padding included; an utterance longer than that is a batch alone.

    Buckets are soft: utterances are ordered by the logarithm of their duration plus a fresh uniform draw as wide as
    one of `num_buckets` equal parts of the whole range, so neighbours differ from epoch to epoch while padding stays
    below that ratio. Without `shuffle` the order is by duration alone, the same in every epoch. Any unit will do: for
    a language model a token lasts a second.

    Shuffled, a corpus of more than `pool` utterances is ordered at random, and so many at a time go into batches.
    Durations count `stretch` times.
    """

    def __init__(
        self,
        durations: Sequence[float] | Durations,
        *,
        max_batch_seconds: float,
        seed: int = 0,
        num_buckets: int = 30,
        shuffle: bool = True,
        stretch: float = 1.0,
        pool: int = POOL,
    ) -> None:
        assert max_batch_seconds > 0
        assert num_buckets >= 1
        self.durations = _as_durations(durations)  # seconds
        self.max_batch_seconds = max_batch_seconds
        self.seed = seed
        self.num_buckets = num_buckets
        self.shuffle = shuffle
        self.stretch = stretch
        self.pool = pool

    def batches(self, epoch: int) -> Sequence[list[int]]:
        """Indices into the durations, batch by batch; a list if all fit into one pool."""
        size = len(self.durations)
        if not self.shuffle:
            return list(BatchPlan(1, lambda _: self._by_duration()))
        if size <= self.pool:
            return list(BatchPlan(1, lambda _: self.pool_of(np.arange(size), self.seed, epoch)))
        order = Permutation(size, self.seed, epoch, "pools")

        def form(number: int) -> Pool:
            members = order.items(number * self.pool, (number + 1) * self.pool)
            return self.pool_of(members, derive_seed(self.seed, "pool", number), epoch)

        return BatchPlan(-(-size // self.pool), form)

    def pool_of(self, members: NDArray[np.int64], seed: int, epoch: int) -> Pool:
        """Batches of some utterances alone."""
        durations = self.durations[members] * self.stretch
        if not len(durations):
            return Pool(members, np.zeros(1, dtype=np.int64), members)
        rng = derive_rng(seed, epoch, "sampler")
        log_durations = np.log(np.maximum(durations, SHORTEST))
        bucket_width = np.ptp(log_durations) / self.num_buckets
        # A random order first, since a stable sort would keep utterances of equal duration together for ever.
        order = rng.permutation(len(durations))
        keys = log_durations[order] + bucket_width * rng.random(len(order))
        order = order[np.argsort(keys, kind="stable")]
        cuts = self._cuts(durations[order])
        return Pool(members[order], cuts, rng.permutation(len(cuts) - 1))

    def _by_duration(self) -> Pool:
        durations = self.durations[np.arange(len(self.durations))] * self.stretch
        order = np.argsort(durations, kind="stable")
        cuts = self._cuts(durations[order])
        return Pool(order, cuts, np.arange(len(cuts) - 1))

    def _cuts(self, durations: NDArray[np.float64]) -> NDArray[np.int64]:
        """Where batches begin that take in utterances in their order as long as the budget lasts, and the end."""
        cuts = []
        budget = self.max_batch_seconds
        longest, size = np.inf, 0  # so that the first utterance opens a batch
        # Each step needs the one before. At 60 ns a step a Python loop over plain floats is as fast as any array code.
        for position, duration in enumerate(durations.tolist()):
            size += 1
            if duration > longest:
                longest = duration
            if longest * size > budget:
                cuts.append(position)
                longest, size = duration, 1
        return np.array([*cuts, len(durations)], dtype=np.int64)


class ShardSampler:
    """Batches from a few shards at a time, so that every shard is read once an epoch and then done with.

    Shards come in a fresh random order each epoch. The utterances of `window` of them (the last window may have fewer)
    form a pool, the shuffle buffer, from which `BucketSampler` makes batches. With one window for all shards they are
    its batches of the whole corpus.
    """

    def __init__(
        self,
        durations: Sequence[float] | Durations,
        starts: Sequence[int] | NDArray[np.int64],
        *,
        window: int,
        max_batch_seconds: float,
        seed: int = 0,
        num_buckets: int = 30,
        stretch: float = 1.0,
    ) -> None:
        """`starts`: the first utterance of each shard, and the number of all; those of a shard follow each other."""
        assert starts[-1] == len(durations)
        assert window >= 1
        self._buckets = BucketSampler(
            durations, max_batch_seconds=max_batch_seconds, num_buckets=num_buckets, stretch=stretch
        )
        self.window = window
        self.seed = seed
        self._starts = np.unique(np.asarray(starts, dtype=np.int64))  # empty shards count for nothing

    @property
    def durations(self) -> Durations:
        """Seconds of every utterance."""
        return self._buckets.durations

    def batches(self, epoch: int) -> Sequence[list[int]]:
        """Indices into the durations, batch by batch."""
        order = derive_rng(self.seed, epoch, "shards").permutation(len(self._starts) - 1)

        def form(number: int) -> Pool:
            start = number * self.window
            shards = np.sort(order[start : start + self.window])
            members = np.concatenate([np.arange(*self._starts[shard : shard + 2]) for shard in shards])
            seed = derive_seed(self.seed, "window", start) if start else self.seed
            return self._buckets.pool_of(members, seed, epoch)

        return BatchPlan(-(-len(order) // self.window), form)


class CurriculumSampler:
    """Another sampler's batches, in the first `epochs` epochs from those of short utterances to those of long ones.

    A curriculum (Amodei et al., "Deep Speech 2", ICML 2016, "SortaGrad"): CTC must first find out that tokens come in
    order, and short utterances leave it the fewest ways to be wrong.

    The batches themselves stay as they are, so every utterance still comes once an epoch and all depends on
    (seed, epoch) alone. What counts is a batch's longest utterance; batches of equal ones keep their random order.
    """

    def __init__(self, sampler: Sampler, durations: Sequence[float] | Durations, *, epochs: int) -> None:
        self.sampler = sampler
        self.durations = _as_durations(durations)  # seconds, of each utterance the sampler counts
        self.epochs = epochs

    def batches(self, epoch: int) -> Sequence[Sequence[int]]:
        """Indices into `durations`, batch by batch."""
        batches = self.sampler.batches(epoch)
        if epoch >= self.epochs:
            return batches
        return sorted(batches, key=lambda batch: float(self.durations[np.asarray(batch)].max()))


def _as_durations(durations: Sequence[float] | Durations) -> Durations:
    """An array of what is a sequence of numbers or an array; anything else as it is."""
    if isinstance(durations, Sequence | np.ndarray):
        return np.asarray(durations, dtype=np.float64)
    return durations
