"""How two lists of words lie against each other: one letter a column, and what follows from it.

    `=`  hit            reference and hypothesis word
    `S`  substitution   reference and hypothesis word
    `D`  deletion       reference word alone
    `I`  insertion      hypothesis word alone
    `o`  a reference word that may be left out and was: counts as a hit (sclite's optionally deletable words)

A string of these letters is called the operations of a pair. By default they come from a Levenshtein alignment, where
a substitution, deletion and insertion cost 1 each. Where several alignments are as short, the one rapidfuzz picks
counts, as in jiwer, so S, D and I agree and not only their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import NamedTuple, cast

from rapidfuzz.distance import Levenshtein

HIT, SUBSTITUTION, DELETION, INSERTION, LEFT_OUT = "=SDIo"
_SUBSTITUTION_CODE, _DELETION_CODE, _INSERTION_CODE = (ord(letter) for letter in "SDI")


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
    def hypothesis_length(self) -> int:
        """Words (or characters) of the hypothesis; words left out by permission count as if they had been said."""
        return self.hits + self.substitutions + self.insertions

    @property
    def rate(self) -> float | None:
        """Errors per reference word as a fraction, which may exceed 1; None without reference words."""
        return self.errors / self.reference_length if self.reference_length else None

    @property
    def match_error_rate(self) -> float:
        """MER, errors per column of the alignment, 0..1 (Morris et al. 2004); 0 without columns, as in jiwer."""
        return (
            self.errors / (self.reference_length + self.insertions) if self.reference_length + self.insertions else 0.0
        )

    @property
    def word_information_lost(self) -> float:
        """WIL, 1 - hits**2 / (reference words * hypothesis words), 0..1 (Morris et al. 2004); 0 without any words."""
        if not self.reference_length or not self.hypothesis_length:
            return float(self.reference_length != self.hypothesis_length)
        return 1 - (self.hits / self.reference_length) * (self.hits / self.hypothesis_length)


class AlignedPair(NamedTuple):
    """One column of an alignment; a deletion has no hypothesis, an insertion no reference."""

    reference: str | None
    hypothesis: str | None
    operation: str  # a letter as above

    @property
    def is_error(self) -> bool:
        """Whether it is a substitution, a deletion or an insertion."""
        return self.operation not in (HIT, LEFT_OUT)


def count_operations(operations: str) -> ErrorCounts:
    """The counts of one pair."""
    count = operations.count
    return ErrorCounts(count(HIT) + count(LEFT_OUT), count(SUBSTITUTION), count(DELETION), count(INSERTION))


def levenshtein(reference: Sequence[str], hypothesis: Sequence[str]) -> str:
    """The operations between two lists of words, or two strings of characters."""
    columns = bytearray(HIT.encode()) * len(reference)
    inserted = []
    edits = cast("list[tuple[str, int, int]]", Levenshtein.editops(reference, hypothesis).as_list())
    for operation, place, _ in edits:
        if operation == "insert":
            inserted.append(place)
        else:
            columns[place] = _SUBSTITUTION_CODE if operation == "replace" else _DELETION_CODE
    for place in reversed(inserted):  # from the right, so that places further left stay valid
        columns.insert(place, _INSERTION_CODE)
    return columns.decode()


def align(reference: Sequence[str], hypothesis: Sequence[str], operations: str) -> list[AlignedPair]:
    """The columns, left to right, of two lists of words and the operations between them."""
    references, hypotheses = iter(reference), iter(hypothesis)
    return [
        AlignedPair(
            None if operation == INSERTION else next(references),
            None if operation in (DELETION, LEFT_OUT) else next(hypotheses),
            operation,
        )
        for operation in operations
    ]
