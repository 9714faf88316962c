"""Dynamic time warping: the best of all paths, of one matrix and of many at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from asr.alignment.dtw import warp, warp_all

EXPECTED = [0, 4, 10, 15, 20, 25]  # of `ridge`, by transformers 5.24


def best_of_all(likeness: np.ndarray) -> np.ndarray:
    """The first frames of all rows on the path with the largest sum, by trying every path."""
    num_rows, num_frames = likeness.shape

    def total(firsts: tuple[int, ...]) -> float:
        edges = [0, *firsts, num_frames]
        return sum(likeness[row, start:stop].sum() for row, (start, stop) in enumerate(itertools.pairwise(edges)))

    paths = itertools.combinations(range(1, num_frames), num_rows - 1)
    return np.array([0, *max(paths, key=total)])


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2), (3, 7), (5, 9), (7, 7)])
def test_the_path_is_the_best_of_all(shape: tuple[int, int]) -> None:
    likeness = np.random.default_rng(sum(shape)).standard_normal(shape)
    expected = best_of_all(likeness)
    found = warp(likeness)
    assert found is not None
    assert found.tolist() == expected.tolist()


def test_matrices_of_all_sizes_at_once_have_the_paths_that_each_has_by_itself() -> None:
    random = np.random.default_rng(0)
    likenesses = [random.standard_normal(shape) for shape in ((40, 300), (5, 4), (0, 3), (12, 12), (30, 400), (1, 1))]
    for one, found in zip(likenesses, warp_all(likenesses), strict=True):
        expected = warp(one)
        assert (None if found is None else found.tolist()) == (None if expected is None else expected.tolist())


def test_more_rows_than_frames_have_no_path_and_no_rows_have_no_frames() -> None:
    assert warp(np.zeros((3, 2))) is None
    found = warp(np.zeros((0, 2)))
    assert found is not None
    assert found.shape == (0,)


def ridge() -> np.ndarray:
    """What attention to six words looks like, above and below its mean."""
    centres = np.array([2, 6, 13, 17, 22, 27])
    distance = (np.arange(30)[None] - centres[:, None]) / 2.0
    return np.exp(-0.5 * distance**2) + 0.1 * np.random.default_rng(3).random((6, 30)) - 0.6


def test_attention_to_words_is_aligned_as_transformers_5_24_does() -> None:
    found = warp(ridge())
    assert found is not None
    assert found.tolist() == EXPECTED


def test_the_expected_frames_are_those_of_transformers() -> None:
    whisper = pytest.importorskip("transformers.models.whisper.generation_whisper")
    rows, frames = whisper._dynamic_time_warping(-ridge())
    assert frames[np.diff(rows, prepend=-1).astype(bool)].tolist() == EXPECTED
