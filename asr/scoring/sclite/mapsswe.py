"""Matched pairs sentence-segment word error test of two systems on the same references, as in NIST's sc_stats.

Gillick & Cox 1989, "Some statistical issues in the comparison of speech recognition algorithms",
doi:10.1109/ICASSP.1989.266481. Errors in words that follow each other depend on each other, errors that at least two
words apart lie, which both systems have right, hardly do. So every utterance is cut into segments: each begins with an
error of either system and ends before the next two words in a row that both have right. Over the differences of the two
systems' errors by segment, the mean divided by its standard error is normal where there are many segments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Levenshtein

from asr.scoring.alignment import AlignedPair

BUFFER_WORDS = 2  # right words in a row that end a segment


@dataclass(frozen=True)
class MatchedPairs:
    """The test's result; errors of A minus errors of B, by segment."""

    segments: int
    mean: float
    deviation: float  # standard deviation of the differences
    z: float  # 0 where all differences are equal, which says nothing, as in sc_stats

    @property
    def p_value(self) -> float:
        """Probability of a |z| at least as high if both systems were equally good; 0..1, two-sided."""
        return math.erfc(abs(self.z) / math.sqrt(2))

    def to_json(self) -> dict[str, Any]:
        """The keys of `comparison.mapsswe`."""
        return {"segments": self.segments, "mean": self.mean, "std": self.deviation, "z": self.z, "p": self.p_value}


def matched_pairs(differences: Sequence[int] | npt.NDArray[np.int64]) -> MatchedPairs:
    """The test on errors of A minus errors of B in every segment."""
    values = np.asarray(differences, dtype=np.float64)
    if not len(values):
        return MatchedPairs(0, 0.0, 0.0, 0.0)
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return MatchedPairs(len(values), mean, deviation, mean / deviation * math.sqrt(len(values)) if deviation else 0.0)


def segment_errors(first: Sequence[AlignedPair], second: Sequence[AlignedPair]) -> list[tuple[int, int]]:
    """Errors of both systems in each segment of an utterance, from their alignments with its reference.

    Where the systems fit different alternatives of the reference, the words in which these differ part segments no
    more than errors do.
    """
    segments: list[tuple[int, int]] = []
    errors = [0, 0]
    right_words = 0
    for first_errors, second_errors, is_word in _meet(_by_word(first), _by_word(second)):
        if first_errors or second_errors or not is_word:
            errors[0] += first_errors
            errors[1] += second_errors
            right_words = 0
            continue
        right_words += 1
        if right_words == BUFFER_WORDS and any(errors):
            segments.append((errors[0], errors[1]))
            errors = [0, 0]
    if any(errors):
        segments.append((errors[0], errors[1]))
    return segments


_Slot = tuple[str | None, int]  # reference word (None where something was inserted), errors


def _by_word(alignment: Sequence[AlignedPair]) -> list[_Slot]:
    """Every reference word with 0 or 1 errors, with the insertions before it, and at the end, as slots of their own."""
    slots: list[_Slot] = []
    inserted = 0
    for pair in alignment:
        if pair.reference is None:
            inserted += 1
            continue
        slots += [(None, inserted), (pair.reference, int(pair.is_error))]
        inserted = 0
    return [*slots, (None, inserted)]


def _meet(first: list[_Slot], second: list[_Slot]) -> list[tuple[int, int, bool]]:
    """(errors of the first, of the second, whether both have this reference word) in order; slots without errors go."""
    words = [[word for word, _ in slots] for slots in (first, second)]
    met: list[tuple[int, int, bool]] = []
    for block in Levenshtein.opcodes(*words):
        ones, others = first[block.src_start : block.src_end], second[block.dest_start : block.dest_end]
        if block.tag != "equal":
            met += [(sum(errors for _, errors in ones), 0, False), (0, sum(errors for _, errors in others), False)]
            continue
        for (word, errors), (_, other_errors) in zip(ones, others, strict=True):
            if word is not None or errors or other_errors:
                met.append((errors, other_errors, word is not None))
    return met
