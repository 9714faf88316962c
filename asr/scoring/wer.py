"""Word and character error rates, defined as jiwer defines them.

    result = score({"u1": "a b c"}, {"u1": "a x c"})       # or score_pairs, for more texts than fit in memory
    result.words.rate, result.interval                     # rates are fractions
    result.counts(0), result.alignment(0)                  # of the utterance result.ids[0]
    result.references[0], result.hypotheses[0]             # its words as they were compared, with single spaces

A rate is (substitutions + deletions + insertions) / reference length; characters include the spaces between words, save
beside Chinese and Japanese ones (`asr.text.normalize.spell`). Words are what stands between white space of any kind,
as `str.split` has it; jiwer parts words at plain spaces alone, and takes two with a no-break space between for one.

Without a single reference word an error rate has no meaning: it is None then. An empty reference counts as an
utterance, which is right if the hypothesis is empty, too, and the words of its hypothesis are insertions.
`asr.scoring.breakdown` groups utterances by speaker and length and lists the most frequent errors,
`asr.scoring.compare` compares two systems, `asr.scoring.report` shows all of it to people.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asr.scoring.alignment import HIT, LEFT_OUT, AlignedPair, ErrorCounts, align, count_operations, levenshtein
from asr.scoring.batch import compare_texts
from asr.scoring.packed import PackedTexts
from asr.scoring.pairing import TextPair, check_ids
from asr.scoring.rules import Rules
from asr.scoring.significance import bootstrap_interval
from asr.text.normalize import CER_NORMALIZER, spell

_BATCH = 16384  # pairs that are aligned together


@dataclass(frozen=True)
class Score:
    """The result for a whole set; row n of everything belongs to the utterance `ids[n]`."""

    ids: tuple[str, ...]
    references: Sequence[str]  # as they were compared; of alternatives, the one that was chosen
    hypotheses: Sequence[str]
    operations: Sequence[str]  # the letters of asr.scoring.alignment
    utterance_counts: npt.NDArray[np.int64]  # (utterances, 4): word hits, substitutions, deletions, insertions
    speakers: tuple[str | None, ...]
    missing: int  # references without a hypothesis, whose words are deletions
    rules: Rules

    @cached_property
    def words(self) -> ErrorCounts:
        """The sum over all utterances."""
        return ErrorCounts(*self.utterance_counts.sum(axis=0).tolist())

    @cached_property
    def characters(self) -> ErrorCounts:
        """The same of characters, by a Levenshtein alignment whatever that of the words is."""
        counts = ErrorCounts()
        correct = 0
        for reference, hypothesis, operations in zip(self.references, self.hypotheses, self.operations, strict=True):
            if operations.count(HIT) == len(operations):
                correct += len(spell(reference))
                continue
            if LEFT_OUT in operations:
                columns = align(reference.split(), hypothesis.split(), operations)
                reference = " ".join(word for word, _, kind in columns if word is not None and kind != LEFT_OUT)
            counts += count_operations(levenshtein(spell(reference), spell(hypothesis)))
        return counts + ErrorCounts(hits=correct)

    @cached_property
    def utterance_errors(self) -> npt.NDArray[np.int64]:
        """(utterances,) substitutions, deletions and insertions together."""
        errors: npt.NDArray[np.int64] = self.utterance_counts[:, 1:].sum(axis=1)
        return errors

    @cached_property
    def utterance_lengths(self) -> npt.NDArray[np.int64]:
        """(utterances,) reference words."""
        lengths: npt.NDArray[np.int64] = self.utterance_counts[:, :3].sum(axis=1)
        return lengths

    @property
    def sentence_error_rate(self) -> float | None:
        """Share of utterances with at least one error; None without utterances."""
        return int(np.count_nonzero(self.utterance_errors)) / len(self.ids) if self.ids else None

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """95 % bootstrap interval of the word error rate over utterances; None without reference words."""
        return bootstrap_interval(self.utterance_errors, self.utterance_lengths)

    @cached_property
    def speaker_interval(self) -> tuple[float, float] | None:
        """The same with speakers drawn instead of utterances; None unless the speaker of every utterance is known.

        It is the wider and more honest one where speakers differ, and next to nothing with a handful of them.
        """
        counts = self.speaker_counts()
        return bootstrap_interval(*counts) if counts else None

    def speaker_counts(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
        """(speakers,) errors and reference words of each; None unless the speaker of every utterance is known."""
        if not self.ids or None in self.speakers:
            return None
        rows = speaker_rows(self.speakers)
        counts = (self.utterance_errors, self.utterance_lengths)
        errors, lengths = (np.bincount(rows, column).astype(np.int64) for column in counts)
        return errors, lengths

    def counts(self, row: int) -> ErrorCounts:
        """The word counts of one utterance."""
        return ErrorCounts(*self.utterance_counts[row].tolist())

    def alignment(self, row: int) -> list[AlignedPair]:
        """The columns of one utterance, hits included, left to right."""
        return align(self.references[row].split(), self.hypotheses[row].split(), self.operations[row])

    def alignments(self) -> Iterator[list[AlignedPair]]:
        """Those of all utterances, in order."""
        for reference, hypothesis, operations in zip(self.references, self.hypotheses, self.operations, strict=True):
            yield align(reference.split(), hypothesis.split(), operations)

    def to_json(self) -> dict[str, Any]:
        """The stable keys of `asr score --json`; rates are fractions."""
        return {
            "wer": self.words.rate,
            "cer": self.characters.rate,
            "mer": self.words.match_error_rate,
            "wil": self.words.word_information_lost,
            "sentence_error_rate": self.sentence_error_rate,
            "substitutions": self.words.substitutions,
            "deletions": self.words.deletions,
            "insertions": self.words.insertions,
            "hits": self.words.hits,
            "reference_words": self.words.reference_length,
            "utterances": len(self.ids),
            "missing": self.missing,
            "ci95": list(self.interval) if self.interval else None,
            "ci95_by_speaker": list(self.speaker_interval) if self.speaker_interval else None,
            "speakers": len(set(self.speakers) - {None}) or None,
            "cer_normalize": CER_NORMALIZER,
            **self.rules.to_json(),
        }


def speaker_rows(speakers: Iterable[str | None]) -> npt.NDArray[np.int64]:
    """The number of each utterance's speaker, counted from 0 as they come."""
    numbers: dict[str | None, int] = {}
    return np.array([numbers.setdefault(speaker, len(numbers)) for speaker in speakers], dtype=np.int64)


def score(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    *,
    normalize: str = "none",
    allow_missing: bool = False,
    speakers: Mapping[str, str | None] | None = None,
    rules: Rules | None = None,
) -> Score:
    """Compare texts by utterance id, both sides under the named normaliser; rows keep the order of `references`.

    ScoringError names ids that only one side has; `allow_missing` takes a missing hypothesis as empty, so that its
    reference counts as deletions. ScoringError also if there are no references, TextError on an unknown normaliser.
    `rules` say more than `normalize` and take its place.
    """
    missing = [] if allow_missing else [name for name in references if name not in hypotheses]
    extra = [name for name in hypotheses if name not in references]
    check_ids(len(references), len(hypotheses), missing, extra)
    ids, texts = list(references), list(references.values())
    speaker_of = (speakers or {}).get
    batches = (
        _Batch(ids[row : row + _BATCH], texts[row : row + _BATCH], list(map(hypotheses.get, ids[row : row + _BATCH])))
        for row in range(0, len(ids), _BATCH)
    )
    return _score(batches, list(map(speaker_of, ids)), rules or Rules(normalize))


def score_pairs(pairs: Iterable[TextPair], rules: Rules) -> Score:
    """Score pairs as they come; apart from a few thousand of them, texts are kept packed. The ids must differ."""
    pairs = iter(pairs)
    speakers: list[str | None] = []

    def batches() -> Iterator[_Batch]:
        while rows := list(islice(pairs, _BATCH)):
            speakers.extend(row.speaker for row in rows)
            sides = [row.reference for row in rows], [row.hypothesis for row in rows]
            yield _Batch([row.id for row in rows], *sides)

    return _score(batches(), speakers, rules)


class _Batch(NamedTuple):
    """Columns of pairs."""

    ids: list[str]
    references: list[str]
    hypotheses: list[str | None]


def _score(batches: Iterable[_Batch], speakers: list[str | None], rules: Rules) -> Score:
    """`speakers` may be filled while the batches are gone through."""
    ids: list[str] = []
    missing = 0
    columns = references, hypotheses, operations = PackedTexts(), PackedTexts(), PackedTexts()
    counts = [np.zeros((0, 4), dtype=np.int64)]
    for batch in batches:
        compared = compare_texts(batch.references, [text or "" for text in batch.hypotheses], rules, batch.ids)
        for texts, lines in zip(columns, compared[:3], strict=True):
            texts.append_lines(lines, len(batch.ids))
        counts.append(compared.counts)
        ids += batch.ids
        missing += batch.hypotheses.count(None)
    rows = np.concatenate(counts)
    return Score(tuple(ids), references, hypotheses, operations, rows, tuple(speakers), missing, rules)


def align_words(reference: str, hypothesis: str) -> list[AlignedPair]:
    """The alignment behind the word counts, hits included, left to right."""
    reference_words, hypothesis_words = reference.split(), hypothesis.split()
    return align(reference_words, hypothesis_words, levenshtein(reference_words, hypothesis_words))


def word_hits(reference: str, hypothesis: str) -> list[bool]:
    """For every word of the hypothesis whether it is right: neither a substitution nor an insertion."""
    return [not pair.is_error for pair in align_words(reference, hypothesis) if pair.hypothesis is not None]
