"""Confidence of tokens, words and texts from the CTC output."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical

from asr.alignment.confidence import (
    MEASURES,
    confidence_measure,
    entropy,
    text_confidence,
    token_confidences,
    word_confidences,
)
from asr.errors import ConfigError
from asr.text.tokenizer import WordSpan

POSTERIORS = torch.tensor(
    [
        [0.9, 0.05, 0.0, 0.0, 0.03, 0.02],
        [0.1, 0.1, 0.0, 0.0, 0.7, 0.1],
        [0.4, 0.1, 0.0, 0.0, 0.5, 0.0],
        [0.6, 0.1, 0.0, 0.0, 0.1, 0.2],
        [0.2, 0.0, 0.0, 0.0, 0.0, 0.8],
    ],
    dtype=torch.float64,
)
TOKENS = (4, 5, 5)
FRAMES = np.array([[1, 3], [3, 4], [4, 5]])


def test_a_token_is_as_sure_as_its_posterior_in_its_best_frame() -> None:
    assert token_confidences(POSTERIORS.log(), TOKENS, FRAMES) == pytest.approx([0.7, 0.2, 0.8])


def test_entropy_is_a_share_of_the_largest_possible() -> None:
    uniform, certain = torch.tensor([0.25, 0.25, 0.0, 0.0, 0.25, 0.25]), torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    uniform_or_certain = torch.stack([uniform, certain]).log()
    # a token that is impossible in a frame is not one of the tokens the entropy is shared by
    uniform_or_certain[1] = uniform_or_certain[1].clamp(min=-80.0)
    assert token_confidences(uniform_or_certain, (4, 4), np.array([[0, 1], [1, 2]]), entropy) == pytest.approx(
        [0, 1], abs=1e-6
    )
    expected = 1 - Categorical(POSTERIORS[3]).entropy().item() / math.log(4)
    assert token_confidences(POSTERIORS.log(), (5,), FRAMES[1:2], entropy) == pytest.approx([expected])


def test_a_word_is_as_sure_as_its_least_sure_token() -> None:
    words = [WordSpan("a", 0, 2), WordSpan("b", 2, 3)]
    assert word_confidences(words, POSTERIORS.log(), TOKENS, FRAMES) == pytest.approx([0.2, 0.8])


def test_a_text_that_does_not_fit_its_audio_is_not_trusted() -> None:
    assert word_confidences([WordSpan("a", 0, 3)], POSTERIORS.log(), TOKENS, None) == [0.0]


def test_a_text_is_as_sure_as_its_words_on_average() -> None:
    assert text_confidence([0.25, 0.75]) == 0.5
    assert text_confidence([]) is None


@pytest.mark.parametrize("measure", MEASURES)
def test_confidences_are_shares_even_of_one_frame_and_one_possible_token(measure: str) -> None:
    log_probs = torch.full((1, 6), -math.inf)
    log_probs[0, 4] = 1e-7  # rounding may put a probability above 1
    (certain,) = token_confidences(log_probs, (4,), np.array([[0, 1]]), confidence_measure(measure))
    assert 0.99 < certain <= 1.0


def test_an_unknown_measure_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'entropy'"):
        confidence_measure("entropie")
