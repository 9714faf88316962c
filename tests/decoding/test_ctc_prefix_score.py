"""CTC prefix scores against all paths, and against the recursion over time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from asr.decoding.ctc_prefix_score import (
    CtcPrefixState,
    ctc_prefix_scores,
    ctc_prefix_state,
    extend_ctc_prefixes,
)
from tests.decoding.brute_force import ctc_text_scores, random_log_probs
from tests.decoding.fakes import Text, all_texts

TOKENS = (1, 4, 5)
BLANK, EOS = 0, 3  # of `own_vocabulary`


def read_text(log_probs: Tensor, length: int, text: Text) -> tuple[list[float], CtcPrefixState]:
    """The scores of a text's tokens and of EOS, and the state of the text."""
    state = ctc_prefix_state(log_probs[None], torch.tensor([length]), BLANK)
    nobody_leaves, only_one = torch.tensor([0]), torch.tensor([[0]])
    added = []
    for token in text:
        added.append(ctc_prefix_scores(state, EOS)[0, 0, token].item())
        state = extend_ctc_prefixes(state, nobody_leaves, only_one, torch.tensor([[token]]))
    return [*added, ctc_prefix_scores(state, EOS)[0, 0, EOS].item()], state


def by_recursion(log_probs: Tensor, text: Text) -> tuple[float, float]:
    """Scores of a text as a beginning and as all of the speech, frame by frame as in the paper."""
    inf = torch.tensor(-math.inf, dtype=torch.float64)
    spoken, blank = [inf] * (len(log_probs) + 1), [*[torch.zeros_like(inf)], *log_probs[:, BLANK].cumsum(0)]
    prefix, last = torch.zeros_like(inf), None
    for token in text:
        before = blank if token == last else [torch.logaddexp(*ways) for ways in zip(spoken, blank, strict=True)]
        spoken, blank, prefix, last = [inf], [inf], inf, token
        for frame, probs in enumerate(log_probs):
            starts = before[frame] + probs[token]
            prefix = torch.logaddexp(prefix, starts)
            blank.append(torch.logaddexp(blank[-1], spoken[-1]) + probs[BLANK])
            spoken.append(torch.logaddexp(spoken[-1] + probs[token], starts))
    return prefix.item(), torch.logaddexp(spoken[-1], blank[-1]).item()


@pytest.mark.parametrize("length", [1, 2, 5])
def test_texts_and_beginnings_get_the_sum_over_all_paths(length: int) -> None:
    log_probs = random_log_probs(7, 6, seed=length)  # the last frames are padding
    expected = ctc_text_scores(log_probs[:length])
    for text in all_texts(TOKENS, length):
        added, _ = read_text(log_probs, length, text)
        whole = math.exp(expected.get(text, -math.inf))
        beginning = sum(math.exp(score) for other, score in expected.items() if other[: len(text)] == text)
        assert math.exp(sum(added)) == pytest.approx(whole, rel=1e-11)
        assert math.exp(sum(added[:-1])) == pytest.approx(beginning, rel=1e-11)


@pytest.mark.parametrize("sharpness", [1.0, 30.0])
def test_long_speech_gets_what_the_recursion_over_time_gives(sharpness: float) -> None:
    """Sums of 600 frames would leave the range of floating point long since."""
    log_probs = random_log_probs(600, 6, seed=3, sharpness=sharpness)
    text = (4, 4, 1, 5, 5, 5, 4, 1, 4)
    added, state = read_text(log_probs, 600, text)
    prefix, whole = by_recursion(log_probs, text)
    assert sum(added[:-1]) == pytest.approx(prefix, rel=1e-10, abs=1e-10)
    assert state.prefix.item() == pytest.approx(prefix, rel=1e-10, abs=1e-10)
    assert sum(added) == pytest.approx(whole, rel=1e-10)


def test_a_text_that_does_not_fit_the_frames_is_impossible() -> None:
    log_probs = random_log_probs(3, 6, seed=0)
    added, state = read_text(log_probs, 3, (4, 4))
    assert all(math.isfinite(score) for score in added)
    assert ctc_prefix_scores(state, EOS)[0, 0, [1, 4, 5]].tolist() == [-math.inf] * 3
    longer = extend_ctc_prefixes(state, torch.tensor([0]), torch.tensor([[0]]), torch.tensor([[4]]))
    scores = ctc_prefix_scores(longer, EOS)
    assert scores[..., 1:].eq(-math.inf).all()


def test_probabilities_of_zero_and_padding_that_is_no_number_do_no_harm() -> None:
    log_probs = torch.full((5, 6), -math.inf, dtype=torch.float64)
    for frame, token in enumerate((4, BLANK, 4)):
        log_probs[frame, token] = 0.0
    log_probs[3:] = math.nan
    added, _ = read_text(log_probs, 3, (4, 4))
    assert sum(added) == pytest.approx(0.0, abs=1e-12)


def test_each_text_of_each_utterance_is_scored_as_if_alone() -> None:
    """Texts change places and utterances leave, as they do in a search."""
    log_probs = random_log_probs(3, 8, 6, seed=5)
    lens = [8, 5, 6]
    state = ctc_prefix_state(log_probs, torch.tensor(lens), BLANK)
    state = extend_ctc_prefixes(
        state, torch.arange(3), torch.zeros(3, 2, dtype=torch.int64), torch.tensor([[4, 5], [1, 4], [5, 4]])
    )
    state = extend_ctc_prefixes(
        state, torch.tensor([0, 2]), torch.tensor([[1, 1, 0], [0, 1, 1]]), torch.tensor([[5, 4, 1], [4, 4, 5]])
    )
    scores = ctc_prefix_scores(state, EOS)
    for row, utterance, texts in [(0, 0, [(5, 5), (5, 4), (4, 1)]), (1, 2, [(5, 4), (4, 4), (4, 5)])]:
        for place, text in enumerate(texts):
            _, alone = read_text(log_probs[utterance, : lens[utterance]], lens[utterance], text)
            torch.testing.assert_close(
                scores[row, place, 1:], ctc_prefix_scores(alone, EOS)[0, 0, 1:], rtol=1e-12, atol=1e-12
            )
