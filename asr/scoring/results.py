"""What `asr score` finds out: from files to a score, its tables, and how it compares with another system's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr.errors import ScoringError
from asr.registry import did_you_mean
from asr.scoring.breakdown import FrequentErrors, Group, by_length, by_speaker, by_utterance, frequent_errors
from asr.scoring.compare import Comparison, compare
from asr.scoring.pairing import TextRow, pair_texts, with_speakers
from asr.scoring.rules import Rules
from asr.scoring.texts import TextFile
from asr.scoring.wer import Score, score_pairs
from asr.system.runtime import write_text_atomic

GROUPINGS: dict[str, Callable[[Score], list[Group]]] = {
    "speaker": by_speaker,
    "length": by_length,
    "utterance": by_utterance,
}


@dataclass(frozen=True)
class Results:
    """A score with whatever else was asked for."""

    score: Score
    comparison: Comparison | None = None
    groups: dict[str, list[Group]] = field(default_factory=dict)  # by the names of GROUPINGS
    frequent_errors: FrequentErrors | None = None

    def to_json(self) -> dict[str, Any]:
        """The keys of the score; "comparison", "by" and "frequent_errors" where asked for."""
        report = self.score.to_json()
        if self.comparison is not None:
            report["comparison"] = self.comparison.to_json()
        if self.groups:
            report["by"] = {name: [group.to_json() for group in groups] for name, groups in self.groups.items()}
        if self.frequent_errors is not None:
            report["frequent_errors"] = self.frequent_errors.to_json()
        return report


def score_files(
    reference: TextFile,
    hypothesis: TextFile,
    rules: Rules,
    allow_missing: bool = False,
    speaker_of: Callable[[str], str | None] | None = None,
) -> Score:
    """Score a file while it is being read; errors as in `pair_texts`.

    Ids of hypotheses that are paths, as in what `asr transcribe` prints of a folder, match by the names of the files.
    Stretches that references in stm exclude from scoring are left out on both sides. `speaker_of` names the speaker of
    an utterance id and takes the place of the speakers in the files.
    """
    names = str(reference), str(hypothesis)
    ignored = reference.ignored_spans()
    rows = _by_name(reference, hypothesis, hypothesis.rows(ignored))
    pairs = pair_texts(reference.rows(), rows, allow_missing=allow_missing, names=names)
    return score_pairs(with_speakers(pairs, speaker_of) if speaker_of else pairs, rules)


def _by_name(reference: TextFile, hypothesis: TextFile, rows: Iterator[TextRow]) -> Iterator[TextRow]:
    """The rows of hypotheses; where their first id is a path that no reference has, each under the reference's id.

    That is the end of the path, as long as possible, that some reference is called, with or without the suffix.
    """
    first = next(hypothesis.rows(), None) if hypothesis.format in ("tsv", "jsonl", "kaldi") else None
    if first is None or not re.search(r"[/\\.]", first.id):
        return rows
    ids = {row.id for row in reference.rows()}
    return rows if first.id in ids else (row._replace(id=_name_in(ids, row.id)) for row in rows)


def _name_in(ids: set[str], id: str) -> str:
    parts = id.replace("\\", "/").split("/")
    *folders, name = parts
    endings = (
        "/".join([*folders[start:], last]) for start in range(len(parts)) for last in (name, name.rpartition(".")[0])
    )
    return next((ending for ending in endings if ending and ending in ids), id)


def gather(score: Score, second: Score | None = None, *, tables: Sequence[str] = (), top: int = 0) -> Results:
    """A score, compared with a second one if given, with tables by the names of GROUPINGS and frequent errors.

    ScoringError on an unknown table, and on one by speaker where no speaker is known.
    """
    names = [name.strip() for name in tables]
    for name in names:
        if name not in GROUPINGS:
            raise ScoringError(f"unknown table '{name}'{did_you_mean(name, GROUPINGS)}")
        if name == "speaker" and not any(score.speakers):
            raise ScoringError("no speaker is known; name them with --speakers FILE or use --speaker-from-id")
    return Results(
        score,
        compare(score, second) if second is not None else None,
        {name: GROUPINGS[name](score) for name in names},
        frequent_errors(score, top) if top else None,
    )


def write_json(results: Results, path: Path) -> None:
    """Write everything as JSON."""
    write_text_atomic(path, json.dumps(results.to_json(), indent=2, ensure_ascii=False) + "\n")
