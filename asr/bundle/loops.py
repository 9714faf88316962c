"""Attention decoders can fall into a loop and write the same phrase until they run out of audio; nobody said that."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

MAX_PHRASE = 12  # words
MAX_TIMES = {1: 4, 2: 3}  # in a row that people say a phrase of one word, or of two: "no no no no"
MAX_TIMES_LONGER = 2
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
    written = text.encode()
    compression = len(written) / max(1, len(zlib.compress(written)))
    return compression > MAX_COMPRESSION or bool(looped_words(text.split()))
