"""What a decoder is told before it writes: the language, what to write, what was said before."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from asr.bundle.bundle import Bundle
from asr.decoding.base import AnySearch, Prompt, decoder_of
from asr.errors import ConfigError
from asr.text.tokenizer import Tokenizer
from asr.text.vocabulary import Vocabulary

AUTO = "auto"  # the language is found by the model
LANGUAGE = re.compile(r"<\|[a-z]{2,3}\|>")  # the piece of a language


@dataclass(frozen=True)
class Wish:
    """What people tell a decoder; None leaves it to the model, which finds the language if it knows several."""

    language: str | None = None  # a code, or AUTO
    task: str | None = None  # transcribe or translate
    prompt: str | None = None  # what was said before


NO_WISH = Wish()


@dataclass(frozen=True)
class Reading:
    """What a decoder reads: always the same, or by the language that is found; neither is its own default."""

    prompt: Prompt | None = None
    of_language: Callable[[str], Prompt] | None = None


def reading(bundle: Bundle, searcher: AnySearch, wish: Wish) -> Reading:
    """The prompts for a wish; ConfigError where the model or its search cannot follow."""
    decoder: Any = decoder_of(bundle.backend.heads)
    if hasattr(decoder, "build_prompt"):
        found = _own(decoder, [*getattr(searcher, "before", ()), *bundle.tokenizer.encode(wish.prompt or "")], wish)
    else:
        if wish.task is not None:
            raise ConfigError(f"the model knows no task '{wish.task}': it writes what is said; leave --task out")
        if wish.language == AUTO:
            raise ConfigError("the model cannot tell languages apart; leave --language out")
        found = Reading(build_prompt(searcher.vocabulary, bundle.tokenizer, wish.language, wish.prompt))
    if found.prompt is not None:
        searcher.start(1, [found.prompt])  # refuses it where there is no decoder
    return found


def known_languages(bundle: Bundle) -> tuple[str, ...]:
    """The language codes that a decoder's prompt can name; none of a model that takes no code."""
    decoder: Any = decoder_of(bundle.backend.heads)
    if hasattr(decoder, "build_prompt"):
        return tuple(decoder.languages) or ("en",)
    return tuple(_language_tokens(decoder.vocabulary)) if decoder is not None else ()


def _language_tokens(vocabulary: Vocabulary) -> dict[str, int]:
    """The tokens of the languages that have a piece `<|code|>`, by code."""
    return {
        vocabulary.piece(token)[2:-2]: token
        for token in sorted(vocabulary.control)
        if LANGUAGE.fullmatch(vocabulary.piece(token))
    }


def _own(decoder: Any, before: Sequence[int], wish: Wish) -> Reading:
    """The prompts of a decoder that has a kind of its own."""
    language = None if wish.language == AUTO else wish.language
    usual: Prompt = decoder.build_prompt(language, before, wish.task)
    if language is None and decoder.languages:
        return Reading(None, partial(decoder.build_prompt, before=before, task=wish.task))
    return Reading(None if usual == decoder.default_prompt else usual)


def build_prompt(
    vocabulary: Vocabulary, tokenizer: Tokenizer, language: str | None, text: str | None
) -> tuple[int, ...] | None:
    """What a decoder reads before it writes: its start, the language and what was said before; None for no wish.

    ConfigError for a language without a piece `<|code|>` of its own, naming those there are.
    """
    if language is None and text is None:
        return None
    prompt = [vocabulary.start]
    if language is not None:
        known = _language_tokens(vocabulary)
        if language not in known:
            advice = f"use one of {', '.join(known)}" if known else "leave the language out"
            raise ConfigError(f"the model does not know a language '{language}'; {advice}")
        prompt.append(known[language])
    return (*prompt, *tokenizer.encode(text or ""))
