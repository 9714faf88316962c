"""Alignment that may leave parts of a text out, against plain alignment of every text it could have chosen."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
import torch

from asr.alignment.forced import align_scored, with_wildcard
from asr.alignment.long import Wildcards, align_long
from tests.foreign_vocabularies import ours

PART = [5, 6, 7]
VOCABULARY = ours().vocabulary
BLANK, UNK = 0, 1


def random_log_probs(frames: int, vocab: int, seed: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(frames, vocab, generator=generator)).log_softmax(-1).numpy()


def lay_out(parts: list[list[int]], repeats: tuple[int, ...]) -> list[int]:
    """Wildcards before, between and after parts, each so many times in a row."""
    tokens = [UNK] * repeats[0]
    for part, count in zip(parts, repeats[1:], strict=True):
        tokens += part + [UNK] * count
    return tokens


def best_of_all_choices(
    log_probs: np.ndarray, parts: list[list[int]], prices: list[float], pause: float
) -> tuple[float, list[bool]]:
    """The score and the parts kept, by aligning every choice of parts and of numbers of pauses."""
    best, kept = -np.inf, [False] * len(parts)
    most = (len(log_probs) + 1) // 2 if np.isfinite(pause) else 1
    for choice in itertools.product([False, True], repeat=len(parts)):
        chosen = list(itertools.compress(parts, choice))
        for repeats in itertools.product(range(1, most + 1), repeat=len(chosen) + 1):
            pauses = sum(repeats) - len(repeats)
            score = align_scored(torch.from_numpy(log_probs), lay_out(chosen, repeats), BLANK)[1]
            score -= sum(price for price, is_kept in zip(prices, choice, strict=True) if not is_kept)
            score -= pauses * pause if pauses else 0.0
            if score > best:
                best, kept = score, list(choice)
    return best, kept


@pytest.mark.parametrize("block_frames", [1, 7, 1000])
@pytest.mark.parametrize("seed", range(6))
def test_without_wildcards_it_is_plain_forced_alignment(seed: int, block_frames: int) -> None:
    rng = np.random.default_rng(seed)
    log_probs = random_log_probs(60, 7, seed)
    tokens = rng.integers(4, 7, int(rng.integers(0, 30))).tolist()
    expected_spans, expected_score = align_scored(torch.from_numpy(log_probs), tokens, BLANK)
    spans, score = align_long(log_probs, tokens, blank=BLANK, min_block_frames=block_frames)
    assert score == expected_score
    assert spans.tolist() == expected_spans.tolist()


@pytest.mark.parametrize("pause", [np.inf, 0.7])
@pytest.mark.parametrize("seed", range(12))
def test_the_best_of_all_ways_to_leave_parts_out_is_found(seed: int, pause: float) -> None:
    rng = np.random.default_rng(seed)
    log_probs = with_wildcard(torch.from_numpy(random_log_probs(7, 7, seed)), VOCABULARY).numpy()
    parts = [rng.integers(4, 7, int(rng.integers(1, 3))).tolist() for _ in range(2)]
    prices = rng.uniform(0, 5, len(parts)).tolist()
    expected, kept = best_of_all_choices(log_probs, parts, prices, pause)
    places = np.cumsum([0, *(len(part) + 1 for part in parts)]).tolist()
    tokens = lay_out(parts, (1,) * (len(parts) + 1))
    for block_frames in (2, 100):
        spans, score = align_long(
            log_probs, tokens, Wildcards(places, prices, pause), blank=BLANK, min_block_frames=block_frames
        )
        assert score == pytest.approx(expected, rel=1e-12)
        assert [bool(spans[place + 1, 1]) for place in places[:-1]] == kept


def test_a_long_part_is_left_out_however_few_frames_lie_between_checkpoints() -> None:
    said = [4, 0, *PART, 0, 8, 0, *PART, 0, 4]
    log_probs = torch.full((len(said), 9), 1e-4).scatter(1, torch.tensor(said)[:, None], 0.99).log()
    log_probs = with_wildcard(log_probs, VOCABULARY).numpy()
    absent = [4, 8] * 200
    tokens = [UNK, *PART, UNK, *absent, UNK, *PART, UNK]
    places = [0, 4, 405, 409]
    spans, score = align_long(log_probs, tokens, Wildcards(places, [30.0, 30.0, 30.0]), blank=BLANK, min_block_frames=3)
    assert spans[1:4].tolist() == [[2, 3], [3, 4], [4, 5]]
    assert spans[406:409].tolist() == [[8, 9], [9, 10], [10, 11]]
    assert not spans[5:405].any()
    assert score == pytest.approx(len(said) * np.log(0.99) - 30.0, abs=1e-5)


def test_memory_is_bounded_and_the_bound_changes_no_result() -> None:
    log_probs = random_log_probs(600, 8, 0)
    tokens = np.random.default_rng(0).integers(4, 8, 400).tolist()
    plain = align_long(log_probs, tokens, blank=BLANK)
    tracemalloc.start()
    few = align_long(log_probs, tokens, blank=BLANK, checkpoint_bytes=1 << 16, min_block_frames=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert few[1] == plain[1]
    assert np.array_equal(few[0], plain[0])
    assert peak < 400_000  # back-pointers would take 960 000, scores of all frames 3 840 000


@pytest.mark.parametrize("tokens", [[4], []])
def test_without_frames_there_is_no_path(tokens: list[int]) -> None:
    spans, score = align_long(np.zeros((0, 6), np.float32), tokens, blank=BLANK)
    assert score == -np.inf
    assert not spans.any()


def test_too_few_frames_for_the_text_are_no_path() -> None:
    spans, score = align_long(random_log_probs(3, 6, 0), [4, 4, 5], blank=BLANK)
    assert score == -np.inf
    assert not spans.any()
