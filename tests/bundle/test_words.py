"""From tokens whose frames are known to words with times and confidence."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from asr.alignment.confidence import posterior
from asr.bundle.words import PlacedWords, TokenPlaces, place_words
from asr.text.tokenizer import WordSpan
from asr.types import Word
from tests.text.test_byte_bpe import TOKENIZER

RATE = 1000


def timed(placed: PlacedWords, seconds: float = 2.0) -> tuple[Word, ...]:
    """In an audio that is equally loud all over."""
    return placed.timed(np.full(round(seconds * RATE), 0.3, dtype=np.float32), RATE, 0.02)


def test_a_word_is_as_likely_as_its_tokens_on_average_where_a_decoder_tells() -> None:
    tokens = TOKENIZER.encode("there a")
    places = TokenPlaces(np.array([[0, 40], [40, 60], [60, 100]]), None, np.array([0.9, 0.3, 0.5]), touching=True)
    placed = place_words(TOKENIZER, tokens, places, posterior)
    assert [(word.text, word.confidence) for word in timed(placed)] == [
        ("there", pytest.approx(0.6)),
        ("a", pytest.approx(0.5)),
    ]
    assert placed.confidence == pytest.approx(0.55)


def test_words_of_one_token_share_its_time() -> None:
    words = (WordSpan("\u65e5", 0, 1), WordSpan("\u672c", 0, 2, spaced=False), WordSpan("\u8a9e", 1, 2, spaced=False))
    placed = PlacedWords(words, None, np.array([[0, 60], [60, 100]]), touching=True)
    assert placed.text == "\u65e5\u672c\u8a9e"
    found = timed(placed)
    assert [word.start for word in found] == pytest.approx([0.0, 0.6, 1.6], abs=0.25)
    assert all(before.end <= after.start for before, after in itertools.pairwise(found))


def test_a_decoder_is_sure_of_its_loops_and_they_are_dropped_all_the_same() -> None:
    words = tuple(WordSpan("no", place, place + 1) for place in range(8))
    frames = np.array([[place, place + 1] for place in range(8)])
    sure = PlacedWords(words, (1.0,) * 8, frames)
    assert len(sure.without_loops().words) == 8, "a CTC head hears them"
    assert len(PlacedWords(words, (1.0,) * 8, frames, touching=True).without_loops().words) == 1
