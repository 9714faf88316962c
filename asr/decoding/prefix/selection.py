"""Which prefixes of a frame are kept, compiled.

Numba compiles a function again for every constant or width of integer that it is called with; here each has one call.
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
    candidates: np.ndarray, count: int, leads: bool, num: int, worth: np.ndarray, chosen: np.ndarray
) -> int:
    """Write down the best `num` of the candidates that do or do not lead, or all if less; of equals the first ones.

    Returns how many they are.
    """
    total = 0
    for at in range(count):
        if candidates[at].leads == leads:
            worth[total] = candidates[at].score
            total += 1
    lowest = nth_best(worth[:total], num) if 0 < num < total else -np.inf
    num_chosen = 0
    for equal in range(2):
        for at in range(count):
            candidate = candidates[at]
            if candidate.leads != leads or num_chosen == num:
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
    num_chosen = 0
    for turn in range(2):
        num = width - (num_chosen if turn else width // 10)
        num_chosen += choose_best(candidates, count, turn == 0, num, worth, chosen[num_chosen:])
        for at in range(count):
            candidates[at].leads = False
        for index in range(num_chosen):
            candidates[chosen[index]].leads = True
    return num_chosen
