"""Texts that are nearly the same: word for word equal but for a few edits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

LEAST_THRESHOLD = 0.5  # below, texts may share no pair of neighbouring words
_START, _END, _UNKNOWN, _FIRST_WORD = "\x01", "\x02", "\x03", 4
_SURROGATES = range(0xD800, 0xE000)
_MAX_WORDS = 0x110000 - _FIRST_WORD - len(_SURROGATES)
_ROUNDING = 1e-9


class Match(NamedTuple):
    """The most similar text of an index."""

    text: int  # its place in the index
    similarity: float  # 0..1


class NearTexts:
    """An index of texts that finds the most similar one to another text, if it is similar enough, and misses none.

    Similarity is 1 - edits / words of the longer text, edits being Levenshtein's over words. Comparing everything with
    everything is avoided by prefix filtering (Chaudhuri et al. 2006, "A primitive operator for similarity joins in data
    cleaning"; Bayardo et al. 2007, "Scaling up all pairs similarity search") on pairs of neighbouring words: an edit
    changes two of them at most, so if d edits lead from one text to another, the 2 d + 1 rarest pairs of the one and
    those of the other have one in common. Only texts of fitting length found so are compared. Memory grows with the
    number of words in the index. Beyond 1.1 million different words, the rarest count as one word.
    """

    def __init__(self, texts: Sequence[str], threshold: float) -> None:
        """`threshold` is the least similarity, LEAST_THRESHOLD..1."""
        assert LEAST_THRESHOLD <= threshold <= 1
        self.threshold = threshold
        counts = Counter(word for text in texts for word in text.split())
        self._letters = {word: _letter(place) for place, (word, _) in enumerate(counts.most_common())}
        self._spelled = [self._spell(text) for text in texts]
        self._lengths = np.array([len(text) for text in self._spelled], dtype=np.int64)
        self._frequency = Counter(pair for text in self._spelled for pair in _pairs(text))
        postings: dict[str, list[int]] = defaultdict(list)
        for place, text in enumerate(self._spelled):
            for pair in self._rarest(text):
                postings[pair].append(place)
        self._postings = {pair: np.array(places, dtype=np.int64) for pair, places in postings.items()}

    def find(self, text: str) -> Match | None:
        """The most similar text, the first of several; None if none is similar enough. An equal one counts, too."""
        spelled = self._spell(text)
        found = [self._postings[pair] for pair in self._rarest(spelled) if pair in self._postings]
        if not found:
            return None
        candidates = np.unique(np.concatenate(found))
        lengths = self._lengths[candidates]
        shorter, longer = np.minimum(lengths, len(spelled)), np.maximum(lengths, len(spelled))
        candidates = candidates[shorter >= self.threshold * longer - _ROUNDING]
        best = process.extractOne(
            spelled,
            [self._spelled[place] for place in candidates],
            scorer=Levenshtein.normalized_similarity,
            processor=None,
            score_cutoff=self.threshold - 0.01,  # rapidfuzz rounds a cutoff close to a score to either side
        )
        if best is None or best[1] < self.threshold - _ROUNDING:
            return None
        return Match(int(candidates[best[2]]), float(best[1]))

    def _spell(self, text: str) -> str:
        """One character a word, so that edit distances over words are those over characters."""
        return "".join(self._letters.get(word, _UNKNOWN) for word in text.split())

    def _rarest(self, spelled: str) -> list[str]:
        """As many of the rarest pairs as must share one with every similar text."""
        longest = int(len(spelled) / self.threshold + _ROUNDING)
        most_edits = int((1 - self.threshold) * longest + _ROUNDING)
        return sorted(_pairs(spelled), key=lambda pair: (self._frequency[pair], pair))[: 2 * most_edits + 1]


def _pairs(spelled: str) -> Iterable[str]:
    """Pairs of neighbours, start and end included; the n-th of several equal ones is distinguished by n."""
    padded = f"{_START}{spelled}{_END}"
    seen: Counter[str] = Counter()
    for place in range(len(padded) - 1):
        pair = padded[place : place + 2]
        seen[pair] += 1
        yield f"{pair}{seen[pair]}" if seen[pair] > 1 else pair


def _letter(place: int) -> str:
    """A character for the word of this rank; halves of surrogate pairs are none."""
    code = _FIRST_WORD + min(place, _MAX_WORDS - 1)
    return chr(code if code < _SURROGATES.start else code + len(_SURROGATES))
