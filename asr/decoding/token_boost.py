"""Hotwords for decoders that write case, punctuation and bytes: boosts of their tokens, once a phrase has begun.

The automaton of `asr.decoding.hotwords` has a row of all tokens for each letter; with Whisper's 51 864 tokens a hundred
terms do not fit. Besides, such a decoder is sure of what it writes, and a boost of everything that may begin a phrase
makes it write phrases that nobody said. So the tokens that go on with a phrase of which the text holds the beginning
are boosted, and those that begin one only a little. Nothing is taken back where a text goes another way: the boosts are
small.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from asr.decoding.hotwords import Hotword
from asr.text.tokenizer import Tokenizer
from asr.text.tokenizer.base import split_words

BEGINNING = 0.25  # of a hotword's boost, for its first token
GOING_ON = 0.75  # for each further one
MAX_HINT = 24  # tokens of a prompt: it is read token by token, and what is in it tempts the decoder to write it


class TokenBoost:
    """A `TokenFilter` that makes the tokens of hotwords likelier; probabilities no longer sum to 1."""

    def __init__(self, hotwords: Sequence[Hotword], tokenizer: Tokenizer) -> None:
        self._next: dict[tuple[int, ...], dict[int, float]] = {}
        self._longest = 0
        for hotword in hotwords:
            for form in forms_of(hotword.text):
                self._add(tuple(tokenizer.encode(form)), hotword.boost)
        first = self._next.pop((), {})
        self._first = torch.tensor(list(first), dtype=torch.int64)
        self._first_boosts = torch.tensor(list(first.values()))

    def _add(self, tokens: tuple[int, ...], boost: float) -> None:
        self._longest = max(self._longest, len(tokens) - 1)
        for place, token in enumerate(tokens):
            share = GOING_ON if place else BEGINNING
            following = self._next.setdefault(tokens[:place], {})
            following[token] = max(following.get(token, share * boost), share * boost, key=abs)

    def __call__(self, log_probs: Tensor, tokens: Tensor, prompt_lens: Tensor, rows: Tensor) -> Tensor:
        if self._first.device != log_probs.device:
            self._first, self._first_boosts = self._first.to(log_probs.device), self._first_boosts.to(log_probs.device)
        boosted = log_probs.index_add(1, self._first, self._first_boosts.to(log_probs.dtype).expand(len(log_probs), -1))
        places, ids, values = [], [], []
        recent = tokens[:, -self._longest :].tolist() if self._longest else [[]] * len(tokens)
        written = (tokens.shape[1] - prompt_lens).tolist()
        for row, (last, size) in enumerate(zip(recent, written, strict=True)):
            for token, boost in self._following(last[max(0, len(last) - size) :]).items():
                places.append(row)
                ids.append(token)
                values.append(boost)
        if places:
            index = (torch.tensor(places, device=boosted.device), torch.tensor(ids, device=boosted.device))
            boosted[index] = log_probs[index] + torch.tensor(values, device=boosted.device, dtype=boosted.dtype)
        return boosted

    def _following(self, written: Sequence[int]) -> dict[int, float]:
        """The boosts of the tokens that go on with phrases at the end of a text; the largest of each."""
        found: dict[int, float] = {}
        for start in range(len(written)):
            for token, boost in self._next.get(tuple(written[start:]), {}).items():
                found[token] = max(found.get(token, boost), boost, key=abs)
        return found


def hint_of(hotwords: Iterable[Hotword], tokenizer: Tokenizer) -> tuple[int, ...]:
    """The first hotwords that are boosted, as the end of a text that was said before: at most MAX_HINT tokens."""
    hint: tuple[int, ...] = ()
    terms: list[str] = []
    for hotword in hotwords:
        terms += [hotword.text] * (hotword.boost > 0)
        longer = tuple(tokenizer.encode(", ".join(terms) + ".")) if terms else ()
        if len(longer) > MAX_HINT:
            break
        hint = longer
    return hint


def forms_of(text: str) -> Iterable[str]:
    """A phrase as it was given, and as it is written inside and at the beginning of a sentence or as a name."""
    words = split_words(text)
    lower = [word.lower() for word in words]
    title = [word[:1].upper() + word[1:] for word in lower]
    forms = [words]
    if all(word.islower() or not word.isalpha() for word in words):
        forms += [title, [title[0], *lower[1:]]]
    elif all(word.isupper() or not word.isalpha() for word in words):
        forms += [title, lower]
    return dict.fromkeys(" ".join(form) for form in forms)
