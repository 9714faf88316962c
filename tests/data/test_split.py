"""Held-out parts: whole speakers or recordings, near the share asked for, whatever the order of the rows."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.data.split import KEYS, parse_share, split_rows
from asr.errors import ManifestError
from asr.types import Utterance


def corpus(speakers: list[int | None], seconds: list[float]) -> list[Utterance]:
    return [
        Utterance(f"u{row}", Path(f"{row // 2}.wav"), length, "text", speaker=None if who is None else f"s{who}")
        for row, (who, length) in enumerate(zip(speakers, seconds, strict=True))
    ]


rows = st.lists(st.tuples(st.integers(0, 9), st.floats(0.1, 20)), min_size=1, max_size=60).map(
    lambda rows: corpus([who for who, _ in rows], [length for _, length in rows])
)


@given(rows=rows, by=st.sampled_from(sorted(KEYS)), dev=st.floats(0.01, 0.5), seed=st.integers(0, 99))
def test_every_row_is_in_one_part_and_no_group_in_two(rows: list[Utterance], by: str, dev: float, seed: int) -> None:
    shares = {"dev": dev, "test": 0.1}
    groups = {KEYS[by](row) for row in rows}
    if len(groups) < 3:
        with pytest.raises(ManifestError, match="3 parts are to have one each"):
            split_rows(rows, shares, by=by, seed=seed)
        return
    parts = split_rows(rows, shares, by=by, seed=seed).rows
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(rows)))
    held = [{KEYS[by](rows[int(number)]) for number in numbers} for numbers in parts.values()]
    assert all(held)
    assert sum(map(len, held)) == len(groups)


def test_the_order_of_rows_is_of_no_influence_and_the_seed_is() -> None:
    rows = corpus([number % 30 for number in range(90)], [1.0] * 90)
    shuffled = random.Random(0).sample(rows, len(rows))

    def dev(of: list[Utterance], seed: int) -> set[str]:
        return {of[int(row)].id for row in split_rows(of, {"dev": 0.2}, by="speaker", seed=seed).rows["dev"]}

    assert dev(rows, 1) == dev(shuffled, 1) != dev(rows, 2)
    assert len(dev(rows, 1)) == 18


def test_auto_goes_by_speaker_where_all_are_known_then_by_recording() -> None:
    assert split_rows(corpus([1, 1, 2, 2], [1.0] * 4), {"dev": 0.5}, seed=0).by == "speaker"
    assert split_rows(corpus([1, 1, 1, 1], [1.0] * 4), {"dev": 0.5}, seed=0).by == "recording"
    assert split_rows(corpus([1, None, 2, 2], [1.0] * 4), {"dev": 0.5}, seed=0).by == "recording"
    assert split_rows(corpus([None, None], [1.0] * 2), {"dev": 0.5}, seed=0).by == "utterance"
    with pytest.raises(ManifestError, match="utterance 'u1' has no speaker; split by recording"):
        split_rows(corpus([1, None, 2], [1.0] * 3), {"dev": 0.5}, by="speaker", seed=0)


def test_shares_are_read_as_people_write_them() -> None:
    assert [parse_share(text) for text in ("10%", "2.5 %", "dev.jsonl", "10")] == [0.1, 0.025, None, None]
    with pytest.raises(ValueError, match="between 0 and 50 % can be held out"):
        parse_share("80%")
