"""Expected calibration error and the bins of a reliability diagram."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.scoring.calibration import Bin, calibrate, draw_reliability


def test_the_error_is_the_gap_of_each_bin_weighted_by_its_words() -> None:
    result = calibrate([0.05, 0.62, 0.66, 0.68, 0.95], [False, True, False, True, True])
    middle = (0.62 + 0.66 + 0.68) / 3
    assert result.ece == pytest.approx((0.05 + 3 * abs(middle - 2 / 3) + 0.05) / 5)
    assert [bin.words for bin in result.bins] == [1, 0, 0, 0, 0, 0, 3, 0, 0, 1]
    assert result.bins[6] == Bin(0.6, 0.7, 3, pytest.approx(middle), pytest.approx(2 / 3))
    assert result.bins[1] == Bin(0.1, 0.2, 0, None, None)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=50), st.integers(1, 20))
def test_the_error_agrees_with_a_loop_over_the_bins(words: list[tuple[float, bool]], num_bins: int) -> None:
    result = calibrate([given for given, _ in words], [right for _, right in words], num_bins)
    assert result.words == len(words)
    if not words:
        assert result.ece is None
        return
    expected = 0.0
    for place in range(num_bins):
        inside = [(given, right) for given, right in words if min(int(given * num_bins), num_bins - 1) == place]
        if inside:
            gap = np.mean([given for given, _ in inside]) - np.mean([right for _, right in inside])
            expected += abs(gap) * len(inside) / len(words)
    assert result.ece == pytest.approx(expected, abs=1e-12)
    assert json.loads(json.dumps(result.to_json()))["ece"] == result.ece


@pytest.mark.parametrize("words", [[], [(0.3, True), (1.0, True), (0.0, False)]])
def test_the_diagram_is_a_picture(tmp_path: Path, words: list[tuple[float, bool]]) -> None:
    pytest.importorskip("matplotlib")
    result = calibrate([given for given, _ in words], [right for _, right in words])
    assert draw_reliability(result, tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_no_diagram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not draw_reliability(calibrate([0.5], [True]), tmp_path / "reliability.png")
    assert not (tmp_path / "reliability.png").exists()
