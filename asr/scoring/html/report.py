"""The score as one HTML file: tables, and all utterances to be searched, sorted, played and seen.

    write_html(results, Path("report.html"), title="test-other", facts={"Reference": "ref.tsv"})

The file needs no network: style, script and texts are in it. Only audio that browsers play stays where it is, as a
link relative to the file. The page itself lies in the folder `page`; a policy in its head lets no other script run
than the one it was written with, whatever the texts hold.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from asr import __version__
from asr.scoring.html.media import Media, find_media, worst_utterances
from asr.scoring.html.summary import summary
from asr.scoring.html.word_times import read_word_times
from asr.scoring.results import Results
from asr.scoring.texts import TextFile
from asr.scoring.wer import Score
from asr.system.display import counted
from asr.system.environment import toolkit_state
from asr.system.runtime import write_text_atomic
from asr.types import Utterance, Word

MAX_LISTED = 50_000  # utterances; a browser has little joy in more
MAX_TOLD = 5  # problems with audio
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character; JSON can escape it, UTF-8 cannot hold it


def write_html(
    results: Results,
    path: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    utterances: Sequence[Utterance] = (),
    worst: Mapping[str, Sequence[Word]] | None = None,
    parts: Mapping[str, Score] | None = None,
) -> list[str]:
    """Write the report; returns lines about what it lacks.

    `utterances` of a manifest give audio to those of the score with the same id; ScoringError if none has. `worst`
    names the utterances that get a spectrogram, and audio in the page where browsers do not play the file, with the
    words of their hypotheses and when, in seconds of the utterance, these were spoken; they may be empty. `parts` are
    scores of some of the utterances, by name, for the table.
    """
    score = results.score
    rows = np.sort(np.argsort(-score.utterance_errors, kind="stable")[:MAX_LISTED]).tolist()
    media = find_media(score, rows, path.parent, {one.id: one for one in utterances}, worst or {})
    script = _part("utterance.js") + _part("report.js")
    page = Template(_part("report.html")).substitute(
        title=escape(title),
        version=escape(__version__),
        style=_part("report.css"),
        script=script,
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        summary=summary(results, parts or {}, facts),
        data=_json(_data(results, rows, media)),
        footer=escape(_footer(score, len(rows))),
    )
    write_text_atomic(path, _SURROGATE.sub("\ufffd", page))
    if len(media.problems) > MAX_TOLD:
        return [*media.problems[:MAX_TOLD], f"and {len(media.problems) - MAX_TOLD} more problems of this kind"]
    return media.problems


def write_files_html(
    results: Results, path: Path, texts: Sequence[TextFile], utterances: Sequence[Utterance] = (), num_worst: int = 20
) -> list[str]:
    """The same for a score of files, the reference first; words have times where the file of hypotheses gives them."""
    reference, *systems = texts
    worst = worst_utterances(results.score, num_worst) if utterances else []
    times = read_word_times(systems[0], worst)
    names = ["Reference", "Hypotheses"] if len(systems) == 1 else ["Reference", "Hypotheses of A", "Hypotheses of B"]
    return write_html(
        results,
        path,
        title=f"{' and '.join(file.path.name for file in systems)} against {reference.path.name}",
        facts={name: f"{file.path} ({file.format})" for name, file in zip(names, texts, strict=True)},
        utterances=utterances,
        worst={id: times.get(id, ()) for id in worst},
    )


def _footer(score: Score, num_listed: int) -> str:
    listed = f", the {num_listed} with the most errors listed" if num_listed < len(score.ids) else ""
    commit = toolkit_state()
    number = counted(len(score.ids), "utterance")
    return f"{number}{listed}. Written by asr {__version__}{f' ({commit})' if commit else ''}."


def _part(name: str) -> str:
    return files("asr.scoring.html").joinpath("page", name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it looks like a tag."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text.replace("<", "\\u003c"))


def _data(results: Results, rows: Sequence[int], media: Media) -> dict[str, Any]:
    """What the script reads; lists have an element for each row that is listed.

    Where the hypothesis equals the reference, it is left out, and so are the operations.
    """
    score = results.score
    systems = {"": score} if results.comparison is None else {"A": score, "B": results.comparison.second}
    speakers = list(dict.fromkeys(speaker for speaker in score.speakers if speaker is not None))
    numbers = {speaker: number for number, speaker in enumerate(speakers)}
    place = {row: number for number, row in enumerate(rows)}
    return {
        "ids": [score.ids[row] for row in rows],
        "references": [score.references[row] for row in rows],
        "speakers": speakers,
        "speaker": [numbers.get(score.speakers[row] or "", -1) for row in rows],
        "systems": [{"name": name, **_system(system, rows, score)} for name, system in systems.items()],
        "audio": [media.audio.get(row) for row in rows] if media.audio else None,
        "durations": [media.durations.get(row) for row in rows] if media.durations else None,
        "notes": media.notes,
        "pictures": {place[row]: picture for row, picture in media.pictures.items()},
    }


def _system(score: Score, rows: Sequence[int], first: Score) -> dict[str, Any]:
    """Two systems may have been compared with different ones of a reference's alternatives."""
    hypotheses, operations, references = [], [], {}
    for number, row in enumerate(rows):
        reference, hypothesis = score.references[row], score.hypotheses[row]
        if reference != first.references[row]:
            references[number] = reference
        hypotheses.append(hypothesis if hypothesis != reference else "")
        operations.append(score.operations[row] if hypothesis != reference else "")
    return {"hypotheses": hypotheses, "operations": operations, "references": references}
