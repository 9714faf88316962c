"""Prompts of requests: a language is a piece of the vocabulary, and what was said before follows it."""

from __future__ import annotations

import pytest

from asr.bundle.prompting import build_prompt
from asr.errors import ConfigError
from asr.text.tokenizer import train_tokenizer
from asr.text.tokenizer.char import CharConfig
from asr.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("!", "a", "<|start|>", "<|en|>", "<|de|>"), sos=2, eos=0, control=frozenset({3, 4}))


def test_a_prompt_is_the_start_the_language_and_the_text_before() -> None:
    tokenizer = train_tokenizer(CharConfig(), ["a b c"])
    said = tuple(tokenizer.encode("a b"))
    assert build_prompt(VOCABULARY, tokenizer, None, None) is None
    assert build_prompt(VOCABULARY, tokenizer, "de", None) == (2, 4)
    assert build_prompt(VOCABULARY, tokenizer, "en", "a b") == (2, 3, *said)
    assert build_prompt(VOCABULARY, tokenizer, None, "a b") == (2, *said)


def test_an_unknown_language_is_refused_with_those_there_are() -> None:
    tokenizer = train_tokenizer(CharConfig(), ["a b c"])
    with pytest.raises(ConfigError, match="'fr'; use one of en, de"):
        build_prompt(VOCABULARY, tokenizer, "fr", None)
