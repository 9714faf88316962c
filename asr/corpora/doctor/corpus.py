"""What is unusual about a row in comparison with the others: rates, scripts, duplicates, speed of speech."""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from asr.system.runtime import derive_rng

COMMON_SCRIPT = 0.1  # a script is expected if it occurs in this share of the texts: in Japanese, three of them do
MIN_ROWS = 30  # fewer do not tell what is usual
NUM_PAIRS = 20_000  # drawn to fit a line; more do not move it
FAR = 5.0  # standard deviations, robustly estimated
LEAST_SPREAD = 0.1  # of log durations; synthetic speech may have none

_RENAMED = {"cjk": "han", "feminine": "latin", "masculine": "latin", "micro": "greek"}
Key = TypeVar("Key", bound=Hashable)


def most_common(values: Iterable[int]) -> int | None:
    """The most frequent value, the largest of several; None without values."""
    counts = Counter(values)
    return max(counts, key=lambda value: (counts[value], value)) if counts else None


def repeats(keys: Iterable[Key]) -> Iterator[tuple[int, int]]:
    """(position, position of its first occurrence) of every key that occurred before."""
    first: dict[Key, int] = {}
    for position, key in enumerate(keys):
        origin = first.setdefault(key, position)
        if origin != position:
            yield position, origin


@functools.cache
def script(character: str) -> str | None:
    """`latin`, `cyrillic`, `han`, ... for a letter, after its name in Unicode; None for all that is in every script."""
    if unicodedata.category(character) not in ("Ll", "Lu", "Lt", "Lo"):
        return None
    words = unicodedata.name(character, "").lower().split()
    words = words[1:] if words and words[0] in ("fullwidth", "halfwidth") else words
    return _RENAMED.get(words[0], words[0]) if words else None


def scripts_of(text: str) -> frozenset[str]:
    """The scripts of the letters of a text."""
    return frozenset(name for name in map(script, set(text)) if name is not None)


@functools.cache
def known_scripts() -> frozenset[str]:
    """Every script that Unicode has letters of; what lies beyond the second plane are more of han."""
    return frozenset(name for code in range(0x20000) if (name := script(chr(code))) is not None)


def common_scripts(texts: Iterable[str]) -> frozenset[str]:
    """The scripts that a fair share of the texts uses."""
    counts = Counter(name for text in texts for name in scripts_of(text))
    least = COMMON_SCRIPT * max(counts.values(), default=0)
    return frozenset(name for name, count in counts.items() if count >= least)


def num_characters(text: str) -> int:
    """Characters that are no white space."""
    return sum(map(len, text.split()))


def unusual_durations(num_characters: Sequence[int], seconds: Sequence[float]) -> dict[int, float]:
    """Rows whose duration does not fit the length of their text, each with the duration that would be usual.

    A line, duration = pause + characters x time per character, is fitted by medians (Theil 1950, Sen 1968, over random
    pairs of rows): unlike characters per second, it is fair to short texts between silences. A row is far off if the
    logarithm of its duration lies more than FAR robust standard deviations (1.4826 times the median absolute
    deviation) from it. Rows without characters take no part; too few rows give {}.
    """
    rows = [row for row, count in enumerate(num_characters) if count]
    if len(rows) < MIN_ROWS:
        return {}
    x, y = np.array(num_characters, dtype=np.float64)[rows], np.array(seconds, dtype=np.float64)[rows]
    left, right = derive_rng("speech rate", len(rows)).integers(0, len(rows), (2, NUM_PAIRS))
    differing = x[left] != x[right]
    slopes = (y[left] - y[right])[differing] / (x[left] - x[right])[differing]
    slope = max(0.0, float(np.median(slopes))) if len(slopes) else 0.0
    usual = np.maximum(np.median(y - slope * x) + slope * x, 0.1)
    residuals = np.log(np.maximum(y, 1e-3) / usual)
    residuals -= np.median(residuals)
    spread = max(LEAST_SPREAD, 1.4826 * float(np.median(np.abs(residuals))))
    return {rows[index]: float(usual[index]) for index in np.flatnonzero(np.abs(residuals) > FAR * spread)}
