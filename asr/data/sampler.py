"""Which utterances go into which batch: by similar duration under a budget of seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asr.runtime import derive_rng, derive_seed

SHORTEST = 0.01  # seconds; shorter utterances count as this long, for the logarithm's sake


class Sampler(Protocol):
    """Decides what is read together."""

    def batches(self, epoch: int) -> Sequence[Sequence[int]]:
        """Indices of utterances, batch by batch; a pure function of the epoch."""


class BucketSampler:
    """Batches of utterances of similar duration, a pure function of (seed, epoch).

    Every utterance comes exactly once per epoch. The longest duration in a batch times its size is at most
    `max_batch_seconds`, padding included; an utterance longer than that is a batch alone.

    Buckets are soft: utterances are ordered by the logarithm of their duration plus a fresh uniform draw as wide as
    one of `num_buckets` equal parts of the whole range, so neighbours differ from epoch to epoch while padding stays
    below that ratio. Without `shuffle` the order is by duration alone, the same in every epoch. Any unit will do: for
    a language model a token lasts a second.
    """

    def __init__(
        self,
        durations: Sequence[float] | NDArray[np.float64],
        *,
        max_batch_seconds: float,
        seed: int = 0,
        num_buckets: int = 30,
        shuffle: bool = True,
    ) -> None:
        assert max_batch_seconds > 0
        assert num_buckets >= 1
        self.durations = np.asarray(durations, dtype=np.float64)  # seconds
        self.max_batch_seconds = max_batch_seconds
        self.seed = seed
        self.num_buckets = num_buckets
        self.shuffle = shuffle

    def batches(self, epoch: int) -> list[list[int]]:
        """Indices into `durations`, batch by batch."""
        if not len(self.durations):
            return []
        if not self.shuffle:
            return self._fill(np.argsort(self.durations, kind="stable"))
        rng = derive_rng(self.seed, epoch, "sampler")
        log_durations = np.log(np.maximum(self.durations, SHORTEST))
        bucket_width = np.ptp(log_durations) / self.num_buckets
        # A random order first, since a stable sort would keep utterances of equal duration together for ever.
        order = rng.permutation(len(self.durations))
        keys = log_durations[order] + bucket_width * rng.random(len(order))
        batches = self._fill(order[np.argsort(keys, kind="stable")])
        return [batches[i] for i in rng.permutation(len(batches))]

    def _fill(self, order: NDArray[np.int64]) -> list[list[int]]:
        batches: list[list[int]] = []
        longest = np.inf  # so that the first utterance opens a batch
        for index, duration in zip(order.tolist(), self.durations[order].tolist(), strict=True):
            longest = max(longest, duration)
            if longest * (len(batches[-1]) + 1 if batches else 1) <= self.max_batch_seconds:
                batches[-1].append(index)
            else:
                batches.append([index])
                longest = duration
        return batches


class ShardSampler:
    """Batches from a few shards at a time, so that every shard is read once an epoch and then done with.

    Shards come in a fresh random order each epoch. The utterances of `window` of them (the last window may have fewer)
    form a pool, the shuffle buffer, from which `BucketSampler` makes batches. With one window for all shards they are
    its batches of the whole corpus.
    """

    def __init__(
        self,
        durations: Sequence[float] | NDArray[np.float64],
        shards: Sequence[int],
        *,
        window: int,
        max_batch_seconds: float,
        seed: int = 0,
        num_buckets: int = 30,
    ) -> None:
        assert len(durations) == len(shards)
        assert window >= 1
        self.durations = np.asarray(durations, dtype=np.float64)  # seconds
        self.shards = np.asarray(shards, dtype=np.int64)  # the number of each utterance's shard
        self.window = window
        self.max_batch_seconds = max_batch_seconds
        self.seed = seed
        self.num_buckets = num_buckets

    def batches(self, epoch: int) -> list[list[int]]:
        """Indices into `durations`, batch by batch."""
        numbers = np.unique(self.shards)
        order = derive_rng(self.seed, epoch, "shards").permutation(numbers)
        batches: list[list[int]] = []
        for start in range(0, len(order), self.window):
            members = np.flatnonzero(np.isin(self.shards, order[start : start + self.window]))
            pool = BucketSampler(
                self.durations[members],
                max_batch_seconds=self.max_batch_seconds,
                seed=derive_seed(self.seed, "window", start) if start else self.seed,
                num_buckets=self.num_buckets,
            )
            batches += [members[batch].tolist() for batch in pool.batches(epoch)]
        return batches
