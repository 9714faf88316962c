"""Pseudo-random orders of which any stretch can be had alone, without an array as long as the whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr.system.runtime import derive_rng, derive_seed

ROUNDS = 6
SHUFFLED = 2**19  # numpy draws from as many at most, which takes an array of all
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Permutation:
    """A fixed order of 0..size-1 for every key.

    The place of an item is encrypted by a Feistel network over the next power of two (Luby & Rackoff 1988), again and
    again until it falls below `size`: "cycle walking" of Black & Rogaway, "Ciphers with arbitrary finite domains",
    CT-RSA 2002. The round function is the finaliser of SplitMix64 (Steele et al., OOPSLA 2014): plenty for shuffling,
    not for secrets.
    """

    def __init__(self, size: int, *key: object) -> None:
        self.size = size
        bits = max(2, (size - 1).bit_length())
        self._shift = np.uint64(bits // 2)
        self._low = np.uint64((1 << bits // 2) - 1)
        self._high = np.uint64((1 << bits - bits // 2) - 1)
        self._keys = [np.uint64(derive_seed("permutation", *key, number)) for number in range(ROUNDS)]

    def items(self, start: int, stop: int) -> NDArray[np.int64]:
        """The items at places `start` to `stop` - 1 of the order; fewer where the order ends before."""
        items = self._encrypt(np.arange(start, min(stop, self.size), dtype=np.uint64))
        while len(outside := np.flatnonzero(items >= self.size)):
            items[outside] = self._encrypt(items[outside])
        return items.astype(np.int64)

    def _encrypt(self, places: NDArray[np.uint64]) -> NDArray[np.uint64]:
        high, low = places >> self._shift, places & self._low
        for number, key in enumerate(self._keys):
            if number % 2:
                low ^= _mix(high, key) & self._low
            else:
                high ^= _mix(low, key) & self._high
        return high << self._shift | low


def sample_rows(size: int, count: int, *key: object) -> NDArray[np.int64]:
    """As many different numbers below `size`, or all if there are fewer, ascending: the same for the same key."""
    if size <= SHUFFLED:
        return np.sort(derive_rng(*key).permutation(size)[:count])
    return np.sort(Permutation(size, *key).items(0, count))


def _mix(values: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    mixed = values + key
    for shift, multiplier in zip((30, 27), _MULTIPLIERS, strict=True):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= multiplier
    mixed ^= mixed >> np.uint64(31)
    return mixed
