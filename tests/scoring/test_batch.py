"""The compiled kernel, and texts in blocks: the same answers as pair by pair."""

from __future__ import annotations

import random
import time

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.scoring import batch
from asr.scoring.alignment import levenshtein
from asr.scoring.packed import PackedTexts, pack_lines
from asr.scoring.rules import Rules
from asr.scoring.wer import score

texts = st.lists(st.sampled_from(["a", "b", "ab", "a" * 9, "b" + "a" * 8, "é", "日本"]), max_size=12).map(" ".join)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even few texts are worth compiling for."""
    pytest.importorskip("numba")
    monkeypatch.setattr(batch, "WORTH_COMPILING", 1)


@pytest.mark.usefixtures("compiled")
def test_the_kernel_makes_the_operations_that_rapidfuzz_makes() -> None:
    rng = random.Random(0)
    rows = []
    for _ in range(3000):
        vocabulary, most = rng.choice([2, 3, 30]), rng.choice([1, 3, 12, 70])
        reference = [str(rng.randrange(vocabulary)) for _ in range(rng.randint(0, most))]
        cut = [word for word in reference if rng.random() < 0.8]
        other = [str(rng.randrange(vocabulary)) for _ in range(rng.randint(0, most))]
        rows.append((reference, rng.choice([cut, other])))
    assert max(len(reference) for reference, _ in rows) > 64  # more than the kernel takes
    sides = ([" ".join(words) for words in side] for side in zip(*rows, strict=True))
    compared = batch.compare_texts(*sides, Rules(), [""] * len(rows))
    expected = [levenshtein(*row) for row in rows]
    assert compared.operations == pack_lines(expected)
    assert compared.counts.sum(axis=1).tolist() == list(map(len, expected))


@pytest.mark.usefixtures("compiled")
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_words_are_compared_to_the_last_byte(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = (dict(enumerate_ids(side)) for side in zip(*pairs, strict=True))
    result = score(references, hypotheses)
    assert list(result.operations) == [levenshtein(*map(str.split, pair)) for pair in pairs]


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(
    "space", ["  ", "\t", "\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x1f", "\xa0", "\u2003", "\u3000"]
)
def test_any_white_space_parts_words(space: str) -> None:
    result = score({"u": f"{space}a{space}b", "v": "c"}, {"u": f"a{space}x{space}", "v": ""})
    assert list(result.operations) == ["=S", "D"]
    assert result.references[0] == "a b"
    assert result.hypotheses[0] == "a x"


@pytest.mark.usefixtures("compiled")
def test_a_normaliser_comes_before_the_kernel() -> None:
    assert score({"u": "Well, A"}, {"u": "well a"}, normalize="basic").operations[0] == "=="


def test_a_block_of_texts_says_where_a_mistake_in_markup_is() -> None:
    with pytest.raises(ValueError, match=r"utterance v: .\{. without"):
        score({"u": "a", "v": "{ b"}, {"u": "a", "v": "b"}, rules=Rules(markup=True))


def enumerate_ids(side: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(str(row), text) for row, text in enumerate(side)]


def test_texts_come_back_from_their_blocks() -> None:
    packed = PackedTexts()
    blocks = [["a", "", "日本 \ud800"], ["b"], ["", "c d"]]
    for block in blocks:
        packed.append_lines(pack_lines(block), len(block))
    expected = [text for block in blocks for text in block]
    assert list(packed) == expected
    assert [packed[row] for row in (5, 0, 3, -2)] == ["c d", "a", "b", ""]
    assert packed[1:4] == expected[1:4]
    assert len(packed) == 6
    with pytest.raises(IndexError):
        packed[6]


def test_ten_thousand_pairs_take_a_fraction_of_jiwer_s_time() -> None:
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(5000)])
    said = rng.integers(0, 5000, (10_000, 20))
    recognised = np.where(rng.random(said.shape) < 0.1, rng.integers(0, 5000, said.shape), said)
    sides = [[" ".join(row) for row in words[side]] for side in (said, recognised)]
    references, hypotheses = (dict(enumerate_ids(tuple(side))) for side in sides)

    def seconds(work: object, *arguments: object) -> float:
        assert callable(work)
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            work(*arguments)
            best = min(best, time.process_time() - started)
        return best

    score(references, hypotheses)  # compiles
    # Ten times as fast where nothing else runs (tools/bench score); on a busy machine far from it.
    assert seconds(jiwer.process_words, *sides) > 3 * seconds(score, references, hypotheses)
