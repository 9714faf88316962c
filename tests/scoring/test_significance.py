import time

import numpy as np
import pytest

from asr.scoring.significance import bootstrap_interval


def utterances(num_utterances, error_rate=0.1):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 40, num_utterances)
    return rng.binomial(lengths, error_rate), lengths


def test_the_interval_is_that_of_drawing_utterances_one_by_one():
    errors, lengths = utterances(200)
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, 200, (20_000, 200))
    expected = np.percentile(errors[drawn].sum(axis=1) / lengths[drawn].sum(axis=1), [2.5, 97.5])
    width = expected[1] - expected[0]
    assert bootstrap_interval(errors, lengths) == pytest.approx(expected, abs=0.03 * width)


def test_the_interval_covers_the_true_rate_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        lengths = rng.integers(1, 20, 150)
        low, high = bootstrap_interval(rng.binomial(lengths, 0.2), lengths, num_samples=500)
        covered += low <= 0.2 <= high
    assert 180 <= covered <= 198  # 95 % of 200 is 190, give or take three standard deviations and a little bias


def test_the_same_counts_in_any_order_give_the_same_interval_and_another_seed_gives_another():
    errors, lengths = utterances(300)
    order = np.random.default_rng(2).permutation(300)
    interval = bootstrap_interval(errors, lengths)
    assert bootstrap_interval(errors[order], lengths[order]) == interval
    assert bootstrap_interval(errors, lengths, seed=1) != interval


def test_a_higher_confidence_gives_a_wider_interval():
    low95, high95 = bootstrap_interval(*utterances(300))
    low99, high99 = bootstrap_interval(*utterances(300), confidence=0.99)
    assert low99 < low95 < high95 < high99


def test_edges_have_no_width_or_no_interval():
    assert bootstrap_interval(np.array([1]), np.array([4])) == (0.25, 0.25)
    assert bootstrap_interval(np.array([0, 0]), np.array([4, 9])) == (0.0, 0.0)
    assert bootstrap_interval(np.array([3, 0]), np.array([0, 0])) is None


def test_samples_without_reference_words_are_left_out():
    low, high = bootstrap_interval(np.array([0, 1]), np.array([0, 2]))  # a quarter of the samples has no word
    assert (low, high) == (0.5, 0.5)


def test_a_million_utterances_take_little_more_than_thousands():
    started = time.process_time()
    low, high = bootstrap_interval(*utterances(1_000_000))
    assert 0.0995 < low < high < 0.1005
    assert time.process_time() - started < 15  # seconds; drawing one by one would take minutes
