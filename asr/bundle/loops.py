"""Attention decoders can fall into a loop and write the same phrase until they run out of audio; nobody said that.

Where an encoder of fixed windows is given less than a window, texts begin again after the true end more often. Most of
these second copies are partial, which a measure of the whole text hardly sees.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

MAX_PHRASE = 12  # words
MAX_TIMES = {1: 4, 2: 3}  # in a row that people say a phrase of one word, or of two: "no no no no"
MAX_TIMES_LONGER = 2
NGRAM = 4  # tokens
MAX_TOKENS_A_SECOND = 6.5
TOKENS_TO_SPARE = 6  # for short utterances
MAX_COMPRESSION = 2.4  # of bytes by zlib: Whisper's own measure of texts that repeat themselves


def looped_words(words: Sequence[str]) -> set[int]:
    """Places of the words of loops, their first rounds apart: a phrase more often in a row than anyone says it."""
    looped: set[int] = set()
    for size in range(1, min(MAX_PHRASE, len(words) // 2) + 1):
        most = MAX_TIMES.get(size, MAX_TIMES_LONGER)
        first = 0  # of a stretch in which every word is the one `size` words before it
        for place in range(size, len(words) + 1):
            if place < len(words) and words[place] == words[place - size]:
                continue
            if place - first > most * size:
                looped.update(range(first + size, place))
            first = place - size + 1
    return looped


def is_loop(text: str) -> bool:
    """Whether a text repeats itself as only decoders do."""
    return compression_ratio(text) > MAX_COMPRESSION or bool(looped_words(text.split()))


def compression_ratio(text: str) -> float:
    """Bytes of a text by those of its compression; 0 of an empty one."""
    written = text.encode()
    return len(written) / len(zlib.compress(written)) if written else 0.0


def is_too_fast(num_tokens: int, seconds: float) -> bool:
    """Whether so many tokens are more than people say in so many seconds."""
    return num_tokens > MAX_TOKENS_A_SECOND * seconds + TOKENS_TO_SPARE


def has_repeated_ngram(tokens: Sequence[int]) -> bool:
    """Whether NGRAM tokens in a row occur a second time: in what people say seldom, in a second copy always."""
    ngrams = [tuple(tokens[place : place + NGRAM]) for place in range(len(tokens) - NGRAM + 1)]
    return len(set(ngrams)) < len(ngrams)
