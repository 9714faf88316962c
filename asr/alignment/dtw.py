"""Dynamic time warping: which stretch of the frames each row of a matrix of likenesses stands for.

Of the step patterns of Sakoe & Chiba 1978 ("Dynamic programming algorithm optimization for spoken word recognition",
section III) the one in which every frame belongs to one row and every row has a frame: from a frame to the next one a
path stays in its row or goes on to the next row. Many matrices are aligned at once, frame by frame: 8 of 100 rows and
1500 frames take some 20 ms, and no compiler, which would hold 100 MB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def warp(likeness: np.ndarray) -> np.ndarray | None:
    """`warp_all` of one matrix (U, S)."""
    return warp_all([likeness])[0]


def warp_all(likenesses: Sequence[np.ndarray]) -> list[np.ndarray | None]:
    """The first frame (U,) int64 of each row of matrices (U, S) on the path with the largest sum; it starts at 0.

    Of paths with equal sums the one that goes on to later rows first. None where there are more rows than frames.
    """
    firsts: list[np.ndarray | None] = [
        np.zeros(len(one), dtype=np.int64) if len(one) <= one.shape[1] else None for one in likenesses
    ]
    places = [place for place, found in enumerate(firsts) if found is not None and len(found)]
    steps = _steps([likenesses[place] for place in places])
    for number, place in enumerate(places):
        num_rows, num_frames = likenesses[place].shape
        own = steps[:num_frames, number]
        found, row = firsts[place], num_rows - 1
        assert found is not None
        for frame in range(num_frames - 1, 0, -1):
            if own[frame, row]:
                found[row] = frame
                row -= 1
    return firsts


def _steps(likenesses: Sequence[np.ndarray]) -> np.ndarray:
    """Whether the best path to a row in a frame comes from the row before: bool (most S, B, most U)."""
    most_rows = max((len(one) for one in likenesses), default=0)
    most_frames = max((one.shape[1] for one in likenesses), default=0)
    values = np.full((most_frames, len(likenesses), most_rows), -np.inf)
    for number, one in enumerate(likenesses):
        values[: one.shape[1], number, : len(one)] = one.T
    steps = np.zeros(values.shape, dtype=bool)
    best = np.full(values.shape[1:], -np.inf)
    before = best.copy()
    if most_frames and most_rows:
        best[:, 0] = values[0, :, 0]
    for frame in range(1, most_frames):
        before[:, 1:] = best[:, :-1]
        np.greater(before, best, out=steps[frame])
        np.maximum(before, best, out=best)
        best += values[frame]
    return steps
