"""Batches dealt out to ranks: together they hold what a single rank would have."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr.data.loader import Loader
from asr.data.ranks import BatchesOfRank, RowsOfRank, share_rows
from asr.data.sampler import BucketSampler

DURATIONS = st.lists(st.floats(0.1, 40), max_size=12)


@given(DURATIONS, st.integers(1, 5))
def test_every_row_goes_to_exactly_one_rank(durations: list[float], num_ranks: int) -> None:
    shares = [share_rows(durations, rank, num_ranks) for rank in range(num_ranks)]
    assert sorted(itertools.chain(*shares)) == list(range(len(durations)))
    assert all(share == sorted(share) for share in shares)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(2, 3))
def test_no_rank_has_more_than_four_thirds_of_the_best_possible_share(durations: list[int], num_ranks: int) -> None:
    best = min(
        max(sum(itertools.compress(durations, (chosen == rank for chosen in choice))) for rank in range(num_ranks))
        for choice in itertools.product(range(num_ranks), repeat=len(durations))
    )
    shares = [share_rows(durations, rank, num_ranks) for rank in range(num_ranks)]
    assert max(sum(durations[row] for row in share) for share in shares) <= 4 / 3 * best


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 50])
def test_ranks_load_together_what_one_loads_alone_with_the_same_draws(dataset, utterances, num_ranks):
    durations = np.array([row.duration for row in utterances])
    sampler = BucketSampler(durations, max_batch_seconds=3, seed=1)
    ranks = [Loader(dataset, RowsOfRank(sampler, durations, rank, num_ranks)) for rank in range(num_ranks)]
    batches = zip(Loader(dataset, sampler).epoch(1), *(loader.epoch(1) for loader in ranks), strict=True)
    for whole, *shares in batches:
        row_of = {id: (share, row) for share in shares for row, id in enumerate(share.ids)}
        assert sum(len(share.ids) for share in shares) == len(whole.ids)
        for number, (id, length) in enumerate(zip(whole.ids, whole.feature_lens, strict=True)):
            share, row = row_of[id]
            assert torch.equal(share.features[row, :length], whole.features[number, :length])


def test_whole_batches_are_dealt_out_for_evaluation():
    sampler = BucketSampler([1.0] * 10, max_batch_seconds=2, shuffle=False)
    ranks = [BatchesOfRank(sampler, rank, 3).batches(0) for rank in range(3)]
    assert [len(batches) for batches in ranks] == [2, 2, 1]
    assert sorted(itertools.chain(*ranks)) == sorted(sampler.batches(0))
