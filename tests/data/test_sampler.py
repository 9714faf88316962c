"""Batches hold every utterance once, keep their budget, and depend on (seed, epoch) alone."""

from __future__ import annotations

import math
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.data.sampler import (
    SHORTEST,
    BatchPlan,
    BucketSampler,
    CurriculumSampler,
    Pool,
    RememberingSampler,
    ShardSampler,
)
from asr.system.runtime import derive_rng

durations = st.lists(st.floats(0, 100), max_size=60)


@given(durations, st.floats(0.5, 300), st.integers(0, 5), st.integers(1, 40), st.booleans())
def test_every_utterance_comes_once_and_no_batch_is_over_budget(seconds, budget, epoch, num_buckets, shuffle):
    sampler = BucketSampler(seconds, max_batch_seconds=budget, num_buckets=num_buckets, shuffle=shuffle)
    batches = sampler.batches(epoch)
    assert sorted(chain.from_iterable(batches)) == list(range(len(seconds)))
    assert all(batches)
    for batch in batches:
        assert len(batch) == 1 or max(seconds[index] for index in batch) * len(batch) <= budget


def test_batches_depend_on_seed_and_epoch_alone():
    seconds = np.random.default_rng(0).uniform(1, 20, 200)
    sampler = BucketSampler(seconds, max_batch_seconds=60, seed=1)
    third = sampler.batches(3)
    assert sampler.batches(4) != third
    assert sampler.batches(3) == third
    assert BucketSampler(seconds, max_batch_seconds=60, seed=1).batches(3) == third
    assert BucketSampler(seconds, max_batch_seconds=60, seed=2).batches(3) != third


def test_utterances_of_equal_duration_get_new_neighbours_every_epoch():
    sampler = BucketSampler([2.0] * 100, max_batch_seconds=20)
    first, second = ({frozenset(batch) for batch in sampler.batches(epoch)} for epoch in (0, 1))
    assert not first & second


def test_an_utterance_longer_than_the_budget_is_a_batch_alone():
    batches = BucketSampler([1.0, 500.0, 1.0, 600.0], max_batch_seconds=10).batches(0)
    assert sorted(map(sorted, batches)) == [[0, 2], [1], [3]]


def test_without_shuffling_batches_run_from_short_to_long_in_every_epoch():
    seconds = np.random.default_rng(0).uniform(1, 20, 100)
    sampler = BucketSampler(seconds, max_batch_seconds=60, shuffle=False)
    order = list(chain.from_iterable(sampler.batches(0)))
    assert all(seconds[a] <= seconds[b] for a, b in pairwise(order))
    assert sampler.batches(7) == sampler.batches(0)


@pytest.mark.parametrize("num_utterances", [900, 20_000])
def test_padding_takes_less_than_a_tenth_of_a_batch(num_utterances):
    seconds = np.random.default_rng(0).gamma(4, 2, num_utterances) + 0.5
    batches = BucketSampler(seconds, max_batch_seconds=200).batches(0)
    padded = sum(max(seconds[batch]) * len(batch) for batch in batches)
    assert seconds.sum() / padded > 0.9


def test_a_million_utterances_are_no_loop_over_a_million_arrays():
    """A guard against quadratic or per-row numpy work: half a second when written, so ten are ample anywhere."""
    import time

    seconds = np.random.default_rng(0).gamma(4, 3, 1_000_000) + 1
    started = time.process_time()
    assert sum(map(len, BucketSampler(seconds, max_batch_seconds=300).batches(0))) == 1_000_000
    assert time.process_time() - started < 10


def batches_of_the_whole(
    seconds: np.ndarray, budget: float, num_buckets: int, seed: int, epoch: int
) -> list[list[int]]:
    """The definition, one utterance at a time."""
    rng = derive_rng(seed, epoch, "sampler")
    logs = [math.log(max(duration, SHORTEST)) for duration in seconds]
    width = (max(logs) - min(logs)) / num_buckets
    first_order = rng.permutation(len(seconds)).tolist()
    draws = rng.random(len(seconds)).tolist()
    keys = {index: logs[index] + width * draw for index, draw in zip(first_order, draws, strict=True)}
    batches: list[list[int]] = []
    for index in sorted(first_order, key=keys.__getitem__):
        longest = max(seconds[other] for other in [*(batches[-1] if batches else []), index])
        if batches and longest * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return [batches[number] for number in rng.permutation(len(batches))]


def test_batches_of_one_pool_are_those_of_the_definition():
    seconds = np.random.default_rng(0).gamma(4, 2, 400) + 0.5
    for epoch in range(3):
        expected = batches_of_the_whole(seconds, 60.0, 30, 5, epoch)
        assert BucketSampler(seconds, max_batch_seconds=60, seed=5).batches(epoch) == expected
        stretched = BucketSampler(seconds / 1.25, max_batch_seconds=60, seed=5, stretch=1.25).batches(epoch)
        assert sorted(map(len, stretched)) == sorted(map(len, expected))


def pooled(size: int = 1000, seed: int = 1) -> BucketSampler:
    seconds = np.random.default_rng(0).gamma(4, 2, size) + 0.5
    return BucketSampler(seconds, max_batch_seconds=60, seed=seed, pool=128)


def test_a_corpus_of_many_pools_comes_once_an_epoch_in_batches_below_the_budget():
    sampler = pooled()
    for epoch in (0, 1):
        batches = list(sampler.batches(epoch))
        assert sorted(chain.from_iterable(batches)) == list(range(1000))
        assert all(max(sampler.durations[batch]) * len(batch) <= 60 for batch in batches)
        padded = sum(max(sampler.durations[batch]) * len(batch) for batch in batches)
        assert sampler.durations.sum() / padded > 0.85
    assert {frozenset(batch) for batch in sampler.batches(0)}.isdisjoint(
        frozenset(batch) for batch in sampler.batches(1) if len(batch) > 1
    )
    assert list(pooled().batches(1)) == batches
    assert list(pooled(seed=2).batches(1)) != batches


def test_any_batch_of_many_pools_can_be_had_alone_and_first():
    batches = list(pooled().batches(0))
    for position in (0, 1, len(batches) // 2, len(batches) - 1, -1):
        assert pooled().batches(0)[position] == batches[position]
    assert pooled().batches(0)[5:9] == batches[5:9]
    for outside in (len(batches), -len(batches) - 1):
        with pytest.raises(IndexError):
            pooled().batches(0)[outside]


def test_pools_are_formed_no_further_than_asked_for_and_one_is_held():
    formed: list[int] = []

    def form(number: int) -> Pool:
        formed.append(number)
        return Pool(np.arange(4), np.array([0, 2, 4]), np.array([1, 0]))

    plan = BatchPlan(5, form)
    assert (plan[0], plan[1]) == ([2, 3], [0, 1])
    assert formed == [0]
    assert plan[2] == [2, 3]
    assert formed == [0, 1]
    assert len(plan) == 10
    assert formed == [0, 1, 2, 3, 4]
    assert plan[9] == [0, 1]
    assert formed == [0, 1, 2, 3, 4], "the last pool is still there, and those before need not be formed again"
    plan[0]
    assert formed == [0, 1, 2, 3, 4, 0]


def test_the_batches_of_the_last_epoch_are_remembered():
    asked: list[int] = []

    class Counting:
        def batches(self, epoch: int) -> list[list[int]]:
            asked.append(epoch)
            return [[epoch]]

    sampler = RememberingSampler(Counting())
    assert [sampler.batches(epoch)[0][0] for epoch in (0, 0, 1, 1, 0)] == [0, 0, 1, 1, 0]
    assert asked == [0, 1, 0]


def test_shards_without_utterances_count_for_nothing():
    seconds = np.random.default_rng(0).uniform(1, 15, 60)
    without, among = (
        ShardSampler(seconds, starts, window=1, max_batch_seconds=40)
        for starts in ([0, 20, 60], [0, 0, 20, 20, 60, 60])
    )
    assert list(without.batches(0)) == list(among.batches(0))


def shard_sampler(window: int, seed: int = 1) -> tuple[ShardSampler, np.ndarray]:
    """200 utterances in ten shards of different sizes, and the shard of each."""
    rng = np.random.default_rng(3)
    shards = np.sort(rng.integers(0, 10, 200))
    starts = np.searchsorted(shards, np.arange(11))
    return ShardSampler(rng.uniform(1, 15, 200), starts, window=window, max_batch_seconds=60, seed=seed), shards


@pytest.mark.parametrize("window", [1, 3, 10, 50])
def test_from_shards_every_utterance_comes_once_an_epoch_and_no_shard_is_taken_up_again(window):
    sampler, shards = shard_sampler(window)
    orders = []
    for epoch in range(3):
        batches = sampler.batches(epoch)
        assert sorted(index for batch in batches for index in batch) == list(range(200))
        assert list(batches) == list(sampler.batches(epoch))
        windows = [{int(shards[index]) for index in batch} for batch in batches]
        order = list(dict.fromkeys(number for numbers in windows for number in sorted(numbers)))
        place = {number: position // window for position, number in enumerate(order)}
        used = [place[number] for numbers in windows for number in numbers]
        assert used == sorted(used), "a window is finished before the next begins"
        orders.append(order)
    assert orders[0] != orders[1]
    assert list(sampler.batches(0)) != list(shard_sampler(window, seed=2)[0].batches(0))


def test_a_window_for_all_shards_gives_the_batches_of_the_whole_corpus():
    sampler, _ = shard_sampler(10)
    whole = BucketSampler(sampler.durations, max_batch_seconds=60, seed=1)
    assert list(sampler.batches(4)) == list(whole.batches(4))


def test_batches_from_shards_stay_below_the_budget_of_seconds():
    sampler, _ = shard_sampler(2)
    batches = sampler.batches(0)
    assert max(len(batch) for batch in batches) > 3
    assert all(sampler.durations[batch].max() * len(batch) <= 60 for batch in batches)


CURRICULUM_SECONDS = np.random.default_rng(0).uniform(1, 20, 200)


def curriculum_and_plain(seconds: np.ndarray = CURRICULUM_SECONDS) -> tuple[CurriculumSampler, BucketSampler]:
    plain = BucketSampler(seconds, max_batch_seconds=60, seed=1)
    return CurriculumSampler(plain, seconds, epochs=2), plain


def test_batches_of_the_first_epochs_run_from_short_to_long():
    curriculum, plain = curriculum_and_plain()
    for epoch in (0, 1):
        longest = [max(CURRICULUM_SECONDS[batch]) for batch in curriculum.batches(epoch)]
        assert all(one <= other for one, other in pairwise(longest))
        assert longest != [max(CURRICULUM_SECONDS[batch]) for batch in plain.batches(epoch)]


def test_under_a_curriculum_every_utterance_comes_once_in_the_batches_it_would_have_been_in_anyway():
    curriculum, plain = curriculum_and_plain()
    batches = curriculum.batches(1)
    assert sorted(chain.from_iterable(batches)) == list(range(len(CURRICULUM_SECONDS)))
    assert sorted(batches) == sorted(plain.batches(1))


def test_epochs_after_the_curriculum_are_shuffled_as_ever():
    curriculum, plain = curriculum_and_plain()
    assert [curriculum.batches(epoch) for epoch in (2, 3)] == [plain.batches(epoch) for epoch in (2, 3)]


def test_batches_of_a_curriculum_depend_on_the_epoch_alone_and_equal_durations_keep_their_random_order():
    curriculum, plain = curriculum_and_plain(np.full(50, 20.0))
    assert curriculum.batches(0) == plain.batches(0)
    assert curriculum.batches(0) != curriculum.batches(1)
    assert curriculum.batches(0) == curriculum_and_plain(np.full(50, 20.0))[0].batches(0)
