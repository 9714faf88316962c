"""Which words of a look are shown: those that are likely to stay."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from asr.text.tokenizer import TOKENIZERS, CharConfig, train_tokenizer
from asr.transcribe.streaming.build import words_grow
from asr.transcribe.streaming.decoder import ChunkedDecoder
from tests.transcribe.streaming.tools import PARTIALS, RATE


class Looks:
    """Finds scripted words, a text a look; an empty one is no look at all."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)

    def start(self, options: object) -> Any:
        return SimpleNamespace(tokens=())

    def advance(self, streams: Sequence[Any], samples: Sequence[np.ndarray], is_last: Sequence[bool]) -> list[bool]:
        return [bool(self.texts[0])]

    def words(self, stream: object) -> list[str]:
        return self.texts[0].split()


def shown(*texts: str, **settings: Any) -> list[str | None]:
    """What is shown after each look."""
    looks: Any = Looks(texts)
    decoder = ChunkedDecoder(looks, RATE, lambda _: None, lambda *_: (), **settings)  # type: ignore[arg-type, return-value]
    utterance, found = decoder.open(0, PARTIALS), []
    while looks.texts:
        (update,) = decoder.advance([utterance], [np.zeros(10, np.float32)], [None])
        found.append(None if update.shown is None else " ".join(update.shown))
        looks.texts.pop(0)
    return found


def test_words_of_one_piece_are_shown_at_once() -> None:
    assert shown("one", "one two", "", words_grow=False) == ["one", "one two", None]


def test_the_last_word_waits_until_it_has_stopped_growing() -> None:
    assert shown("on", "one", "one", "one tw", "one two three") == ["", "", "one", "one", "one two"]


@pytest.mark.parametrize(("stable_after", "expected"), [(2, ["", "a", "a b", "a"]), (3, ["", "", "a", "a"])])
def test_words_may_have_to_stay_for_several_looks(stable_after: int, expected: list[str]) -> None:
    assert shown("a", "a b", "a b c", "a x c", words_grow=False, stable_after=stable_after) == expected


def test_words_of_some_tokenizers_grow_and_those_of_others_do_not() -> None:
    assert words_grow(train_tokenizer(CharConfig(), ["one two"]))
    assert not words_grow(train_tokenizer(TOKENIZERS.config("word").model_validate({}), ["one two"]))
