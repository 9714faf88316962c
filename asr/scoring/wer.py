"""Word and character error rates, defined as jiwer defines them.

The alignment is a Levenshtein one: substitution, deletion and insertion cost 1 each. Where several alignments are as
short, the one rapidfuzz picks counts, as in jiwer, so S, D and I agree and not only their sum.
A rate is (substitutions + deletions + insertions) / reference length; characters include the spaces between words.
Without a single reference word a rate has no meaning: it is None then, and insertions are still counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from itertools import islice, zip_longest
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Levenshtein

from asr.errors import ScoringError
from asr.scoring.significance import bootstrap_interval
from asr.text.normalize import normalize as normalize_text

ALIGN = "levenshtein"
_NAMED_IDS = 5  # how many ids an error lists before it only counts


@dataclass(frozen=True)
class ErrorCounts:
    """What became of the reference's words (or characters), and what was added."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_length(self) -> int:
        """Words (or characters) of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float | None:
        """Errors per reference word as a fraction, which may exceed 1; None without reference words."""
        return self.errors / self.reference_length if self.reference_length else None


class AlignedPair(NamedTuple):
    """One column of an alignment; a deletion has no hypothesis, an insertion no reference."""

    reference: str | None
    hypothesis: str | None


@dataclass(frozen=True)
class Score:
    """The result for a whole set; `ids[n]` is the utterance of row n of `utterance_counts`."""

    ids: tuple[str, ...]
    utterance_counts: npt.NDArray[np.int64]  # (utterances, 4): word hits, substitutions, deletions, insertions
    characters: ErrorCounts
    normalize: str

    @cached_property
    def words(self) -> ErrorCounts:
        """The sum over all utterances."""
        return ErrorCounts(*self.utterance_counts.sum(axis=0).tolist())

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """95 % bootstrap interval of the word error rate over utterances; None without reference words."""
        errors = self.utterance_counts[:, 1:].sum(axis=1)
        lengths = self.utterance_counts[:, :3].sum(axis=1)
        return bootstrap_interval(errors, lengths)

    def counts(self, row: int) -> ErrorCounts:
        """The word counts of one utterance."""
        return ErrorCounts(*self.utterance_counts[row].tolist())

    def to_json(self) -> dict[str, Any]:
        """The stable keys of `asr score --json`; rates are fractions."""
        return {
            "wer": self.words.rate,
            "cer": self.characters.rate,
            "substitutions": self.words.substitutions,
            "deletions": self.words.deletions,
            "insertions": self.words.insertions,
            "hits": self.words.hits,
            "reference_words": self.words.reference_length,
            "utterances": len(self.ids),
            "ci95": list(self.interval) if self.interval else None,
            "align": ALIGN,
            "normalize": self.normalize,
        }


def score(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    *,
    normalize: str = "none",
    allow_missing: bool = False,
) -> Score:
    """Compare texts by utterance id, both sides under the named normaliser; rows keep the order of `references`.

    ScoringError names ids that only one side has; `allow_missing` takes a missing hypothesis as empty, so that its
    reference counts as deletions. ScoringError also if there are no references, TextError on an unknown normaliser.
    """
    _check_ids(references, hypotheses, allow_missing)
    counts = np.zeros((len(references), 4), dtype=np.int64)
    characters = np.zeros(4, dtype=np.int64)
    for row, (utterance_id, text) in enumerate(references.items()):
        reference = normalize_text(text, normalize)
        hypothesis = normalize_text(hypotheses.get(utterance_id, ""), normalize)
        counts[row] = _count(reference.split(), hypothesis.split())
        characters += _count(reference, hypothesis)
    return Score(tuple(references), counts, ErrorCounts(*characters.tolist()), normalize)


def count_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorCounts:
    """Counts of one pair: lists of words, or strings for characters. Nothing is normalised."""
    return ErrorCounts(*_count(reference, hypothesis))


def align_words(reference: str, hypothesis: str) -> list[AlignedPair]:
    """The alignment behind the word counts, hits included, left to right."""
    reference_words, hypothesis_words = reference.split(), hypothesis.split()
    pairs: list[AlignedPair] = []
    for block in Levenshtein.opcodes(reference_words, hypothesis_words):
        sources = reference_words[block.src_start : block.src_end]
        targets = hypothesis_words[block.dest_start : block.dest_end]
        pairs.extend(AlignedPair(source, target) for source, target in zip_longest(sources, targets))
    return pairs


def word_hits(reference: str, hypothesis: str) -> list[bool]:
    """For every word of the hypothesis whether it is right: neither a substitution nor an insertion."""
    pairs = align_words(reference, hypothesis)
    return [pair.reference == pair.hypothesis for pair in pairs if pair.hypothesis is not None]


def name_ids(ids: Iterable[str]) -> str:
    """The first few ids for an error message, and that there are more."""
    ids = iter(ids)
    named = ", ".join(islice(ids, _NAMED_IDS))
    return named + (", ..." if next(ids, None) is not None else "")


def _count(reference: Sequence[str], hypothesis: Sequence[str]) -> tuple[int, int, int, int]:
    operations = [operation for operation, _, _ in Levenshtein.editops(reference, hypothesis).as_list()]
    substitutions = operations.count("replace")
    deletions = operations.count("delete")
    insertions = len(operations) - substitutions - deletions
    return len(reference) - substitutions - deletions, substitutions, deletions, insertions


def _check_ids(references: Mapping[str, str], hypotheses: Mapping[str, str], allow_missing: bool) -> None:
    if not references:
        raise ScoringError("there are no references, so there is nothing to score")
    problems = []
    missing = [] if allow_missing else [name for name in references if name not in hypotheses]
    if missing:
        problems.append(
            f"{len(missing)} of {len(references)} references have no hypothesis: {name_ids(missing)} "
            "(--allow-missing counts them as deletions)"
        )
    if extra := [name for name in hypotheses if name not in references]:
        problems.append(f"{len(extra)} of {len(hypotheses)} hypotheses have no reference: {name_ids(extra)}")
    if problems:
        raise ScoringError("; ".join(problems))
