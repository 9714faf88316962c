"""A score taken apart: by speaker, by length, by utterance, and into its most frequent errors.

by_speaker(result), by_length(result), by_utterance(result)     # Groups: name, utterances, counts
frequent_errors(result, top=20)                                 # substitutions, deletions, insertions
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from asr.scoring.alignment import DELETION, HIT, ErrorCounts
from asr.scoring.wer import Score, speaker_rows

Item = TypeVar("Item", str, tuple[str, str])

UNKNOWN_SPEAKER = "(unknown)"
LENGTHS = ((0, 0), (1, 5), (6, 10), (11, 20), (21, 40), (41, None))  # reference words of a group, both ends included


@dataclass(frozen=True)
class Group:
    """Utterances that have something in common."""

    name: str
    utterances: int
    counts: ErrorCounts
    sentence_errors: int  # utterances with at least one error

    def to_json(self) -> dict[str, Any]:
        """One row of a table; rates are fractions."""
        return {
            "name": self.name,
            "utterances": self.utterances,
            "wer": self.counts.rate,
            "sentence_error_rate": self.sentence_errors / self.utterances if self.utterances else None,
            "substitutions": self.counts.substitutions,
            "deletions": self.counts.deletions,
            "insertions": self.counts.insertions,
            "hits": self.counts.hits,
            "reference_words": self.counts.reference_length,
        }


@dataclass(frozen=True)
class FrequentErrors:
    """The most frequent errors, most frequent first, equally frequent ones in alphabetical order."""

    substitutions: list[tuple[tuple[str, str], int]]  # (reference word, hypothesis word), times
    deletions: list[tuple[str, int]]
    insertions: list[tuple[str, int]]

    def to_json(self) -> dict[str, Any]:
        """Lists of [reference word, hypothesis word, times] and [word, times]."""
        return {
            "substitutions": [[*pair, times] for pair, times in self.substitutions],
            "deletions": [list(row) for row in self.deletions],
            "insertions": [list(row) for row in self.insertions],
        }


def by_speaker(score: Score) -> list[Group]:
    """A group for each speaker in alphabetical order; utterances whose speaker is not known come last."""
    speakers = list(dict.fromkeys(score.speakers))
    groups = _groups(score, speaker_rows(score.speakers), [speaker or UNKNOWN_SPEAKER for speaker in speakers])
    known = {id(group): speaker for group, speaker in zip(groups, speakers, strict=True)}
    return sorted(groups, key=lambda group: (known[id(group)] is None, group.name))


def by_length(score: Score) -> list[Group]:
    """Groups by the number of reference words, shortest first; those without utterances are left out."""
    lowest = np.array([low for low, _ in LENGTHS])
    names = [f"{low}" if low == high else f"{low}-{high}" if high else f"{low} or more" for low, high in LENGTHS]
    rows = np.searchsorted(lowest, score.utterance_lengths, side="right") - 1
    return [group for group in _groups(score, rows, names) if group.utterances]


def by_utterance(score: Score) -> list[Group]:
    """A group for each utterance, under its id, in order."""
    return [
        Group(name, 1, counts, int(counts.errors > 0))
        for name, counts in zip(score.ids, map(score.counts, range(len(score.ids))), strict=True)
    ]


def frequent_errors(score: Score, top: int) -> FrequentErrors:
    """The `top` most frequent errors of each kind."""
    substitutions: Counter[tuple[str, str]] = Counter()
    deletions: Counter[str] = Counter()
    insertions: Counter[str] = Counter()
    for pairs in score.alignments():
        for reference, hypothesis, operation in pairs:
            if operation == HIT:
                continue
            if reference is None:
                assert hypothesis is not None
                insertions[hypothesis] += 1
            elif hypothesis is not None:
                substitutions[reference, hypothesis] += 1
            elif operation == DELETION:
                deletions[reference] += 1
    return FrequentErrors(_top(substitutions, top), _top(deletions, top), _top(insertions, top))


def _top(counter: Counter[Item], top: int) -> list[tuple[Item, int]]:
    return sorted(counter.items(), key=lambda row: (-row[1], row[0]))[:top]


def _groups(score: Score, rows: npt.NDArray[np.int64], names: Iterable[str]) -> list[Group]:
    """One group for each name, of the utterances that have its number in `rows`."""
    names = list(names)
    sums = np.zeros((len(names), 4), dtype=np.int64)
    np.add.at(sums, rows, score.utterance_counts)
    utterances = np.bincount(rows, minlength=len(names)).tolist()
    wrong = np.bincount(rows[score.utterance_errors > 0], minlength=len(names)).tolist()
    return [
        Group(name, utterances[row], ErrorCounts(*sums[row].tolist()), wrong[row]) for row, name in enumerate(names)
    ]
