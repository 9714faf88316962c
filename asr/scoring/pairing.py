"""References and hypotheses brought together by utterance id, while both are being read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from asr.errors import ScoringError

_NAMED_IDS = 5  # how many ids an error lists before it only counts


class TextRow(NamedTuple):
    """An utterance of one file."""

    id: str
    text: str
    speaker: str | None = None


class TextPair(NamedTuple):
    """What was said and what was recognised."""

    id: str
    reference: str
    hypothesis: str | None  # None where the system gave none
    speaker: str | None = None


def pair_texts(
    references: Iterable[TextRow], hypotheses: Iterable[TextRow], *, allow_missing: bool = False
) -> Iterator[TextPair]:
    """Pairs in the order of the references; a hypothesis is held back until its reference comes.

    Ids must differ within each side. ScoringError, after the last pair, names the ids that only one side has;
    `allow_missing` lets references without a hypothesis pass. ScoringError also if there are no references.
    """
    waiting: dict[str, TextRow] = {}
    rest = iter(hypotheses)
    missing = []
    num_references = num_paired = 0
    for row in references:
        num_references += 1
        found = waiting.pop(row.id, None) if waiting else None
        if found is None:
            for other in rest:
                if other.id == row.id:
                    found = other
                    break
                waiting[other.id] = other
        if found is None:
            missing.append(row.id)
            yield TextPair(row.id, row.text, None, row.speaker)
        else:
            num_paired += 1
            yield TextPair(row.id, row.text, found.text, row.speaker or found.speaker)
    if not num_references:
        raise ScoringError("there are no references, so there is nothing to score")
    extra = [*waiting, *(other.id for other in rest)]
    problems = []
    if missing and not allow_missing:
        problems.append(
            f"{len(missing)} of {num_references} references have no hypothesis: {name_ids(missing)} "
            "(--allow-missing counts them as deletions)"
        )
    if extra:
        problems.append(f"{len(extra)} of {num_paired + len(extra)} hypotheses have no reference: {name_ids(extra)}")
    if problems:
        raise ScoringError("; ".join(problems))


def distinct(rows: Iterable[TextRow], source: str) -> Iterator[TextRow]:
    """The rows; ScoringError after the last one names the ids that came more than once in `source`."""
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for row in rows:
        if row.id in seen:
            repeated[row.id] = None
        else:
            seen.add(row.id)
            yield row
    if repeated:
        raise ScoringError(f"{source}: {len(repeated)} ids occur more than once: {name_ids(repeated)}")


def with_speakers(pairs: Iterable[TextPair], speaker_of: Callable[[str], str | None]) -> Iterator[TextPair]:
    """The pairs with the speaker of each id; ScoringError after the last one names the ids whose speaker is unknown."""
    unknown = []
    for pair in pairs:
        speaker = speaker_of(pair.id)
        if speaker is None:
            unknown.append(pair.id)
        yield pair._replace(speaker=speaker)
    if unknown:
        raise ScoringError(f"{len(unknown)} utterances have no speaker: {name_ids(unknown)}")


def name_ids(ids: Iterable[str]) -> str:
    """The first few ids for an error message, and that there are more."""
    ids = iter(ids)
    named = ", ".join(islice(ids, _NAMED_IDS))
    return named + (", ..." if next(ids, None) is not None else "")
