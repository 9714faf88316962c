"""References and hypotheses brought together by utterance id, while both are being read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from asr.errors import ScoringError
from asr.system.display import counted

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
    references: Iterable[TextRow],
    hypotheses: Iterable[TextRow],
    *,
    allow_missing: bool = False,
    names: tuple[str, str] = ("the references", "the hypotheses"),
) -> Iterator[TextPair]:
    """Pairs in the order of the references; a hypothesis is held back until its reference comes.

    ScoringError, after the last pair, names ids that only one side has or that come more than once on a side, called by
    `names`; `allow_missing` lets references without a hypothesis pass. ScoringError also if there are no references.
    """
    waiting: dict[str, TextRow] = {}
    rest = iter(hypotheses)
    missing: dict[str, None] = {}
    seen: set[str] = set()  # ids of references
    repeated: tuple[dict[str, None], dict[str, None]] = {}, {}
    for row in references:
        if row.id in seen:
            repeated[0][row.id] = None
            continue
        seen.add(row.id)
        found = waiting.pop(row.id, None) if waiting else None
        while found is None and (other := next(rest, None)) is not None:
            if other.id == row.id:
                found = other
            elif other.id in waiting or (other.id in seen and other.id not in missing):
                repeated[1][other.id] = None
            else:
                waiting[other.id] = other
        if found is None:
            missing[row.id] = None
            yield TextPair(row.id, row.text, None, row.speaker)
        else:
            yield TextPair(row.id, row.text, found.text, row.speaker or found.speaker)
    num_paired = len(seen) - len(missing)
    for other in rest:
        if other.id in waiting or other.id in seen:
            repeated[1][other.id] = None
        else:
            waiting[other.id] = other
    for name, ids in zip(names, repeated, strict=True):
        if ids:
            raise ScoringError(f"{name}: {counted(len(ids), 'id occurs', 'ids occur')} more than once: {name_ids(ids)}")
    check_ids(len(seen), num_paired + len(waiting), [] if allow_missing else list(missing), list(waiting))


def check_ids(num_references: int, num_hypotheses: int, missing: Sequence[str], extra: Sequence[str]) -> None:
    """ScoringError if there are no references, or ids that only one side has."""
    if not num_references:
        raise ScoringError("there are no references, so there is nothing to score")
    problems = []
    if missing:
        problems.append(
            f"{len(missing)} of {num_references} references have no hypothesis: {name_ids(missing)} "
            "(--allow-missing counts them as deletions)"
        )
    if extra:
        problems.append(f"{len(extra)} of {num_hypotheses} hypotheses have no reference: {name_ids(extra)}")
    if problems:
        raise ScoringError("; ".join(problems))


def with_speakers(pairs: Iterable[TextPair], speaker_of: Callable[[str], str | None]) -> Iterator[TextPair]:
    """The pairs with the speaker of each id; ScoringError after the last one names the ids whose speaker is unknown."""
    unknown = []
    for pair in pairs:
        speaker = speaker_of(pair.id)
        if speaker is None:
            unknown.append(pair.id)
        yield pair._replace(speaker=speaker)
    if unknown:
        raise ScoringError(
            f"{counted(len(unknown), 'utterance has', 'utterances have')} no speaker: {name_ids(unknown)}"
        )


def missing_line(number: int) -> str:
    """How references without a hypothesis count, in words."""
    return f"{counted(number, 'reference has', 'references have')} no hypothesis: the words are deletions"


def name_ids(ids: Iterable[str]) -> str:
    """The first few ids for an error message, and that there are more."""
    ids = iter(ids)
    named = ", ".join(islice(ids, _NAMED_IDS))
    return named + (", ..." if next(ids, None) is not None else "")
