"""Which prefixes of a frame are kept, compiled.

Written in plain loops: most of numpy's functions take numba longer to compile than all of this.
"""

from __future__ import annotations

import numpy as np

from asr.system.jit import compiled_part

NOWHERE = -1


@compiled_part
def nth_best(scores: np.ndarray, num: int) -> float:
    """The `num`-th best of scores (N,), which change places; 1 <= num <= N. Quickselect (Hoare 1961)."""
    low, high, wanted = 0, len(scores) - 1, num - 1
    while low < high:
        pivot = scores[(low + high) >> 1]
        left, right = low, high
        while left <= right:
            while scores[left] > pivot:
                left += 1
            while scores[right] < pivot:
                right -= 1
            if left <= right:
                scores[left], scores[right] = scores[right], scores[left]
                left += 1
                right -= 1
        if wanted <= right:
            high = right
        elif wanted >= left:
            low = left
        else:
            break
    return float(scores[wanted])


@compiled_part
def best_of(mask: np.ndarray, wanted: bool, scores: np.ndarray, num: int, chosen: np.ndarray, num_chosen: int) -> int:
    """Add `num` places, or all if there are less, where a mask (N,) is as wanted and the scores (N,) are best.

    Of equals the earlier ones. Returns how many are chosen then.
    """
    places, worth = np.empty(len(mask), np.int64), np.empty(len(mask))
    count = 0
    for place in range(len(mask)):
        if mask[place] == wanted:
            places[count], worth[count] = place, scores[place]
            count += 1
    lowest = nth_best(worth[:count], num) if 0 < num < count else -np.inf
    full = num_chosen + num
    for equal in (False, True):
        for index in range(count):
            score = scores[places[index]]
            if num_chosen < full and (num >= count or (score == lowest if equal else score > lowest)):
                chosen[num_chosen] = places[index]
                num_chosen += 1
        if num >= count:
            break
    return num_chosen


@compiled_part
def choose(scores: np.ndarray, futures: np.ndarray, width: int, chosen: np.ndarray) -> int:
    """Fill in places of at most `width` scores (N,) to keep: four in five of different futures, and the best others.

    Of prefixes with the same future one will most likely stay the best, and the others should not crowd out what may
    win yet. But they have paths to give to each other, so that some of them are worth a place. Returns how many there
    are.
    """
    if len(scores) <= width:
        for place in range(len(scores)):
            chosen[place] = place
        return len(scores)
    size = 2
    while size < 2 * len(scores):
        size *= 2
    table, is_best = np.empty(size, np.int64), np.empty(len(scores), np.bool_)
    for slot in range(size):
        table[slot] = NOWHERE
    for place in range(len(scores)):
        is_best[place] = True
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
    num_leaders = best_of(is_best, True, scores, width - width // 5, chosen, 0)
    for place in range(len(scores)):
        is_best[place] = False
    for index in range(num_leaders):
        is_best[chosen[index]] = True
    return best_of(is_best, False, scores, width - num_leaders, chosen, num_leaders)
