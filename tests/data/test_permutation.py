"""Orders of which any stretch can be had alone hold every item once, and look random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.data.permutation import SHUFFLED, Permutation, sample_rows


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(0, 9), st.integers(100, 700))
def test_stretches_together_hold_every_item_once(size, key, length):
    order = Permutation(size, key)
    stretches = [order.items(start, start + length) for start in range(0, size, length)]
    assert sorted(np.concatenate(stretches).tolist()) == list(range(size))


def test_an_item_has_its_place_whatever_stretch_it_is_asked_for_with():
    order = Permutation(10_000, "a")
    np.testing.assert_array_equal(order.items(300, 400), order.items(0, 10_000)[300:400])


def test_every_key_has_an_order_of_its_own():
    orders = [Permutation(1000, key).items(0, 1000) for key in range(20)]
    in_place = [np.mean(a == b) for a in orders for b in orders if a is not b]
    assert np.mean(in_place) < 0.01


@pytest.mark.parametrize("size", [70_000, 2**17])
def test_items_of_a_stretch_come_evenly_from_all_over(size):
    items = Permutation(size, 3).items(0, size // 10)
    counts = np.histogram(items, bins=10, range=(0, size))[0]
    expected = len(items) / 10
    assert np.sum((counts - expected) ** 2 / expected) < 27.9  # chi-square of 9 degrees of freedom, p = 0.001
    neighbours = np.corrcoef(items[:-1], items[1:])[0, 1]
    assert abs(neighbours) < 4 / np.sqrt(len(items))


def test_a_sample_is_ascending_without_repeats_and_all_of_a_smaller_whole():
    assert sample_rows(5, 10, 1).tolist() == [0, 1, 2, 3, 4]
    for size in (1000, SHUFFLED + 1):
        rows = sample_rows(size, 100, 1, "purpose")
        assert len(rows) == 100
        assert np.all(np.diff(rows) > 0)
        assert 0 <= rows[0] < rows[-1] < size
        assert rows.tolist() == sample_rows(size, 100, 1, "purpose").tolist()
        assert rows.tolist() != sample_rows(size, 100, 2, "purpose").tolist()
