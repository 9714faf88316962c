"""Dynamic time warping: which stretch of the frames each row of a matrix of likenesses stands for.

Of the step patterns of Sakoe & Chiba 1978 ("Dynamic programming algorithm optimization for spoken word recognition",
section III) the one in which every frame belongs to one row and every row has a frame: from a frame to the next one a
path stays in its row or goes on to the next row. A compiled loop finds it where numba is installed, numpy elsewhere.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from asr.system.threads import off_main_thread


def warp(likeness: np.ndarray) -> np.ndarray | None:
    """The first frame (U,) int64 of each row of a matrix (U, S) on the path with the largest sum; it starts at 0.

    Of paths with equal sums the one that goes on to later rows first. None where there are more rows than frames.
    """
    num_rows, num_frames = likeness.shape
    if num_rows > num_frames:
        return None
    if not num_rows:
        return np.zeros(0, dtype=np.int64)
    values = np.ascontiguousarray(likeness, dtype=np.float64)
    kernel = _compiled()
    if kernel is None:
        return warp_plain(values)
    firsts = np.zeros(num_rows, dtype=np.int64)
    off_main_thread(kernel, values, firsts, np.full(num_rows, -np.inf), np.zeros((num_frames, num_rows), dtype=bool))
    return firsts


def warp_plain(likeness: np.ndarray) -> np.ndarray:
    """`warp` frame by frame in numpy; rows must not outnumber frames."""
    num_rows, num_frames = likeness.shape
    best = np.full(num_rows, -np.inf)
    best[0] = likeness[0, 0]
    steps = np.zeros((num_frames, num_rows), dtype=bool)  # whether the row before was left
    for frame in range(1, num_frames):
        before = np.concatenate([[-np.inf], best[:-1]])
        steps[frame] = before > best
        best = np.where(steps[frame], before, best) + likeness[:, frame]
    firsts = np.zeros(num_rows, dtype=np.int64)
    row = num_rows - 1
    for frame in range(num_frames - 1, 0, -1):
        if steps[frame, row]:
            firsts[row] = frame
            row -= 1
    return firsts


@cache
def _compiled() -> Callable[..., None] | None:
    """`_warp_one` as machine code; None without numba."""
    if importlib.util.find_spec("numba") is None:
        return None
    from asr.system.jit import compiled

    return compiled(_warp_one)


def _warp_one(likeness: Any, firsts: Any, best: Any, steps: Any) -> None:
    """Fill `firsts` (U,) for likenesses (U, S); written for numba. Only rows that a path can be in are visited.

    `best` (U,) is for the sums of paths, all -inf; `steps` (S, U) for whether the row before was left, all False.
    """
    num_rows, num_frames = likeness.shape
    best[0] = likeness[0, 0]
    for frame in range(1, num_frames):
        first = max(0, num_rows - (num_frames - frame))
        for row in range(min(num_rows - 1, frame), first - 1, -1):
            if row > 0 and best[row - 1] > best[row]:
                best[row] = best[row - 1]
                steps[frame, row] = True
            best[row] += likeness[row, frame]
    row = num_rows - 1
    for frame in range(num_frames - 1, 0, -1):
        if steps[frame, row]:
            firsts[row] = frame
            row -= 1
