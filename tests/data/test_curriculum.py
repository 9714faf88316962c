"""In the first epochs batches run from short to long; nothing else changes."""

from __future__ import annotations

from itertools import chain, pairwise

import numpy as np

from asr.data.curriculum import CurriculumSampler
from asr.data.sampler import BucketSampler

SECONDS = np.random.default_rng(0).uniform(1, 20, 200)


def samplers(seconds: np.ndarray = SECONDS) -> tuple[CurriculumSampler, BucketSampler]:
    plain = BucketSampler(seconds, max_batch_seconds=60, seed=1)
    return CurriculumSampler(plain, seconds, epochs=2), plain


def test_batches_of_the_first_epochs_run_from_short_to_long():
    curriculum, plain = samplers()
    for epoch in (0, 1):
        longest = [max(SECONDS[batch]) for batch in curriculum.batches(epoch)]
        assert all(one <= other for one, other in pairwise(longest))
        assert longest != [max(SECONDS[batch]) for batch in plain.batches(epoch)]


def test_every_utterance_comes_once_in_the_batches_it_would_have_been_in_anyway():
    curriculum, plain = samplers()
    batches = curriculum.batches(1)
    assert sorted(chain.from_iterable(batches)) == list(range(len(SECONDS)))
    assert sorted(batches) == sorted(plain.batches(1))


def test_later_epochs_are_shuffled_as_ever():
    curriculum, plain = samplers()
    assert [curriculum.batches(epoch) for epoch in (2, 3)] == [plain.batches(epoch) for epoch in (2, 3)]


def test_batches_depend_on_the_epoch_alone_and_equal_durations_keep_their_random_order():
    curriculum, plain = samplers(np.full(50, 20.0))
    assert curriculum.batches(0) == plain.batches(0)
    assert curriculum.batches(0) != curriculum.batches(1)
    assert curriculum.batches(0) == samplers(np.full(50, 20.0))[0].batches(0)
