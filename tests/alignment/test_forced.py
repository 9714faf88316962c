"""Forced alignment against the best of all paths, found by trying each."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from asr.alignment import forced as align
from asr.alignment.forced import WILDCARD_GAP, align_batch, align_texts, forced_align, wildcard
from asr.text.vocabulary import Vocabulary
from tests.foreign_vocabularies import FOREIGN, ours

VOCABULARY = ours().vocabulary
BLANK, UNK, SOS, EOS = range(4)


def best_by_all_paths(log_probs: Tensor, tokens: tuple[int, ...]) -> tuple[float, list[list[int]]]:
    """Score and spans of the best path that collapses to the tokens; tiny inputs only."""
    best, spans = float("-inf"), [[0, 0] for _ in tokens]
    legal = [BLANK, UNK, *range(EOS + 1, log_probs.shape[1])]
    for path in itertools.product(legal, repeat=len(log_probs)):
        runs = [(token, len(list(run))) for token, run in itertools.groupby(path)]
        if tuple(token for token, _ in runs if token != 0) != tokens:
            continue
        score = sum(log_probs[frame, token].item() for frame, token in enumerate(path))
        if score > best:
            ends = list(itertools.accumulate(length for _, length in runs))
            best = score
            spans = [[end - length, end] for (token, length), end in zip(runs, ends, strict=True) if token != 0]
    return best, spans


def random_log_probs(batch: int, frames: int, vocab: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(batch, frames, vocab, dtype=torch.float64, generator=generator)).log_softmax(-1)


def align_one(log_probs: Tensor, tokens: tuple[int, ...]) -> tuple[list[list[int]], float]:
    ids = torch.tensor([tokens], dtype=torch.int64)
    lens, token_lens = torch.tensor([len(log_probs)]), torch.tensor([len(tokens)])
    spans, scores = forced_align(log_probs[None], lens, ids, token_lens, BLANK)
    return spans[0].tolist(), scores[0].item()


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with the compiled loop, where numba is installed, and without."""
    if request.param == "torch":
        monkeypatch.setattr(align, "_compiled", lambda: None)
    else:
        pytest.importorskip("numba")


@pytest.mark.parametrize("tokens", [(), (4,), (5, 4), (4, 4), (6, 4, 6), (5, 5, 5), (4, 5, 6, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_all_paths_is_found(tokens: tuple[int, ...], seed: int) -> None:
    log_probs = random_log_probs(1, 6, 7, seed)[0]
    score, spans = best_by_all_paths(log_probs, tokens)
    found_spans, found_score = align_one(log_probs, tokens)
    assert found_score == pytest.approx(score, rel=1e-12)
    assert found_spans == spans


def test_a_batch_gives_what_each_utterance_gives_alone() -> None:
    log_probs = random_log_probs(4, 9, 5)
    lens, texts = [9, 5, 7, 3], [(1, 2, 2), (4,), (), (3, 1)]
    tokens = torch.full((4, 3), 3)
    for row, text in enumerate(texts):
        tokens[row, : len(text)] = torch.tensor(text, dtype=torch.int64)
    spans, scores = forced_align(log_probs, torch.tensor(lens), tokens, torch.tensor([3, 1, 0, 2]), BLANK)
    for row, (frames, text) in enumerate(zip(lens, texts, strict=True)):
        alone_spans, alone_score = align_one(log_probs[row, :frames], text)
        assert spans[row, : len(text)].tolist() == alone_spans
        assert not spans[row, len(text) :].any()
        assert scores[row].item() == alone_score


@pytest.mark.parametrize("tokens", [(1, 1), (1, 2, 3)])
def test_where_no_path_exists_the_score_is_minus_infinity_and_spans_are_zero(tokens: tuple[int, ...]) -> None:
    assert align_one(random_log_probs(1, 2, 4)[0], tokens) == ([[0, 0]] * len(tokens), float("-inf"))


def test_a_token_that_cannot_be_is_not_aligned() -> None:
    log_probs = random_log_probs(1, 5, 4)[0]
    log_probs[:, 2] = float("-inf")
    assert align_one(log_probs, (1, 2))[1] == float("-inf")


def align_text(log_probs: Tensor, tokens: tuple[int, ...], vocabulary: Vocabulary = VOCABULARY) -> list[list[int]]:
    (spans,) = align_texts(log_probs[None], torch.tensor([len(log_probs)]), [tokens], vocabulary)
    assert spans is not None
    return spans.tolist()


@pytest.mark.parametrize("tokens", [(UNK,), (UNK, 4), (5, UNK, 4), (UNK, UNK)])
def test_the_unknown_token_is_as_likely_as_the_best_one(tokens: tuple[int, ...]) -> None:
    log_probs = random_log_probs(1, 5, 6)[0]
    wild = log_probs.clone()
    for frame in wild:
        frame[UNK] = max(frame[BLANK].item() - WILDCARD_GAP, *(frame[token].item() for token in (UNK, 4, 5)))
    _, spans = best_by_all_paths(wild, tokens)
    assert align_text(log_probs, tokens) == spans


def test_the_unknown_token_covers_a_word_of_several_tokens_and_no_silence() -> None:
    said = (0, 0, 4, 0, 5, 6, 0, 7, 0, 0, 8, 0)
    log_probs = torch.full((len(said), 9), 0.01).scatter(1, torch.tensor(said)[:, None], 0.92).log()
    assert align_text(log_probs, (4, UNK, 8)) == [[2, 3], [4, 8], [10, 11]]


@pytest.mark.parametrize("name", [name for name, make in FOREIGN.items() if make().vocabulary.blank is not None])
@pytest.mark.parametrize("has_unknown", [True, False])
def test_a_text_stands_where_it_was_said_in_the_vocabulary_of_any_family(name: str, has_unknown: bool) -> None:
    vocabulary = FOREIGN[name]().vocabulary
    if not has_unknown:
        pieces = [piece for token, piece in enumerate(vocabulary.pieces) if token != vocabulary.unk]
        blank = pieces.index(vocabulary.piece(vocabulary.blank))
        vocabulary = Vocabulary(tuple(pieces), blank=blank)
    blank = vocabulary.blank
    text = [token for token in range(len(vocabulary)) if token not in vocabulary.control][:4]
    said = [blank, text[0], text[0], blank, text[1], blank, text[2], text[3], blank]
    log_probs = torch.full((len(said), len(vocabulary)), 0.001).scatter(1, torch.tensor(said)[:, None], 0.9).log()
    assert align_text(log_probs, tuple(text), vocabulary) == [[1, 3], [4, 5], [6, 7], [7, 8]]
    anything = wildcard(vocabulary)
    assert align_text(log_probs, (text[0], anything, text[3]), vocabulary) == [[1, 3], [4, 7], [7, 8]]


def test_both_ways_to_compute_agree_on_long_utterances() -> None:
    log_probs = random_log_probs(5, 120, 30)
    lens, token_lens = torch.tensor([120, 100, 41, 40, 7]), torch.tensor([40, 30, 40, 40, 0])
    tokens = torch.randint(2, 30, (5, 40), generator=torch.Generator().manual_seed(1))
    spans, scores = forced_align(log_probs.float(), lens, tokens, token_lens, BLANK)
    expected_spans, expected_scores = align_batch(log_probs.float(), lens, tokens, token_lens, BLANK)
    assert torch.equal(spans, expected_spans)
    assert torch.equal(scores, expected_scores)


def test_an_utterance_without_frames_has_no_path() -> None:
    assert align_one(random_log_probs(1, 0, 4)[0], ()) == ([], float("-inf"))
    assert align_one(random_log_probs(1, 0, 4)[0], (3,)) == ([[0, 0]], float("-inf"))
