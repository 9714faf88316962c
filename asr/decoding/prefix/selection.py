"""Which prefixes of a frame are kept, compiled."""

from __future__ import annotations

import numpy as np

from asr.system.jit import compiled_part

NOWHERE = -1


@compiled_part
def nth_best(scores: np.ndarray, count: int, num: int) -> float:
    """The `num`-th best of `count` scores, which change places; 1 <= num <= count. Quickselect (Hoare 1961)."""
    low, high, wanted = 0, count - 1, num - 1
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
def mark_leaders(candidates: np.ndarray, count: int, table: np.ndarray) -> None:
    """Mark the candidates that are the best, or the first of the best, of their futures.

    `table` is for hashes, int32 of a power of 2, at least 2 * count.
    """
    mask = 2
    while mask < 2 * count:
        mask *= 2
    mask -= 1
    for slot in range(mask + 1):
        table[slot] = NOWHERE
    for at in range(count):
        future = candidates[at].future
        slot = (future ^ (future >> 17)) & mask
        while table[slot] != NOWHERE and candidates[table[slot]].future != future:
            slot = (slot + 1) & mask
        rival = table[slot]
        candidates[at].leads = rival == NOWHERE or candidates[at].score > candidates[rival].score
        if candidates[at].leads:
            table[slot] = at
            if rival != NOWHERE:
                candidates[rival].leads = False


@compiled_part
def choose_best(
    candidates: np.ndarray, count: int, leads: bool, num: int, worth: np.ndarray, chosen: np.ndarray, num_chosen: int
) -> int:
    """Add the best `num`, or all if there are less, of the candidates that do or do not lead; of equals the first.

    Those chosen count as leading ones then. Returns how many are chosen.
    """
    total = 0
    for at in range(count):
        if candidates[at].leads == leads:
            worth[total] = candidates[at].score
            total += 1
    full = num_chosen + num
    lowest = nth_best(worth, total, num) if 0 < num < total else -np.inf
    for equal in range(2):
        for at in range(count):
            candidate = candidates[at]
            if candidate.leads != leads or num_chosen == full:
                continue
            if candidate.score == lowest if equal else candidate.score > lowest:
                chosen[num_chosen] = at
                num_chosen += 1
    return num_chosen


@compiled_part
def choose(
    candidates: np.ndarray, count: int, width: int, table: np.ndarray, worth: np.ndarray, chosen: np.ndarray
) -> int:
    """Write down at most `width` candidates to keep: nine in ten of different futures, and the best others.

    Of prefixes with the same future one will most likely stay the best, and the others should not crowd out what may
    win yet. But they have paths to give to each other, so that some of them are worth a place. Returns how many there
    are.
    """
    if count <= width:
        for at in range(count):
            chosen[at] = at
        return count
    mark_leaders(candidates, count, table)
    num_leaders = choose_best(candidates, count, True, width - width // 10, worth, chosen, 0)
    for at in range(count):
        candidates[at].leads = False
    for index in range(num_leaders):
        candidates[chosen[index]].leads = True
    return choose_best(candidates, count, False, width - num_leaders, worth, chosen, num_leaders)
