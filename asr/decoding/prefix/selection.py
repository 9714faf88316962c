"""Which prefixes of a frame are kept, compiled."""

from __future__ import annotations

import numpy as np

from asr.system.jit import compiled

NOWHERE = -1


@compiled
def best_of(places: np.ndarray, scores: np.ndarray, num: int) -> np.ndarray:
    """The `num` of some places whose scores are best; of equals the earlier ones."""
    if len(places) <= num or num == 0:
        return places[:num]
    lowest = np.partition(scores[places], len(places) - num)[len(places) - num]
    kept = np.empty(num, np.int64)
    count = 0
    for exactly in (False, True):
        for place in places:
            if count < num and (scores[place] == lowest if exactly else scores[place] > lowest):
                kept[count] = place
                count += 1
    return kept


@compiled
def choose(scores: np.ndarray, futures: np.ndarray, width: int) -> np.ndarray:
    """Places of at most `width` scores to keep: four in five of different futures, and the best of the others.

    Of prefixes with the same future one will most likely stay the best, and the others should not crowd out what may
    win yet. But they have paths to give to each other, so that some of them are worth a place.
    """
    if len(scores) <= width:
        return np.arange(len(scores))
    size = 2
    while size < 2 * len(scores):
        size *= 2
    table = np.full(size, NOWHERE, np.int64)
    is_best = np.ones(len(scores), np.bool_)
    for place in range(len(scores)):
        slot = (futures[place] ^ (futures[place] >> 17)) & (size - 1)
        while table[slot] != NOWHERE and futures[table[slot]] != futures[place]:
            slot = (slot + 1) & (size - 1)
        rival = table[slot]
        if rival == NOWHERE:
            table[slot] = place
        elif scores[place] > scores[rival]:
            is_best[rival] = False
            table[slot] = place
        else:
            is_best[place] = False
    leaders = best_of(np.flatnonzero(is_best), scores, width - width // 5)
    is_best[:] = False
    is_best[leaders] = True
    return np.concatenate((leaders, best_of(np.flatnonzero(~is_best), scores, width - len(leaders))))


@compiled
def promising(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Places of the scores that are not too far below the best."""
    lowest = scores.max() + threshold
    places = np.empty(len(scores), np.int64)
    count = 0
    for place in range(len(scores)):
        if scores[place] >= lowest and scores[place] != -np.inf:
            places[count] = place
            count += 1
    return places[:count]
