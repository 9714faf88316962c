"""Manifests: one JSON line per utterance, strict about what stands in it.

    {"id": "fcaw-an406", "audio": "wav/fcaw/an406.sph", "duration": 3.4, "text": "rubout g m e f three nine"}

Optional keys are `start` (seconds into the audio), `speaker` and `lang`. Audio paths are relative to the manifest's
folder on disk and absolute in memory. Blank lines are skipped.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.data.manifest.line_files import BYTE_ORDER_MARK, LineFiles
from asr.data.manifest.rows import check_row, parse_object, utterance_from_row
from asr.data.manifest.table import Table
from asr.errors import ManifestError
from asr.system.paths import where_to_look
from asr.system.runtime import write_text_atomic
from asr.types import Utterance

TABLE_SUFFIXES = {".csv", ".tsv"}


@dataclass(frozen=True)
class ManifestLine:
    """A line of a manifest that is not blank: an utterance, or the error that keeps it from being one."""

    number: int  # from 1
    content: bytes
    utterance: Utterance | None
    error: ManifestError | None = None


def read_lines(path: Path | str) -> Iterator[ManifestLine]:
    """Every line of a manifest, bad ones included; ids may repeat. ManifestError only if the file cannot be read."""
    path = Path(path)
    try:
        lines = path.read_bytes().removeprefix(BYTE_ORDER_MARK).split(b"\n")
    except OSError as error:
        raise ManifestError(f"{path}: cannot read the manifest ({error.strerror}){where_to_look(path)}") from error
    folder = _real_folder(path.parent)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield ManifestLine(number, line, utterance_from_row(parse_object(line), folder))
        except ManifestError as error:
            yield ManifestLine(number, line, None, error)


def open_manifest(path: Path | str) -> ManifestTable:
    """The utterances of a manifest of any size, parsed when they are asked for; every line is checked now.

    ManifestError as `path:line: ...` for the first bad line, else for the first id that comes twice. What is found out
    about a large file is kept (see `asr.data.manifest.index`), so that it opens at once another time.
    """
    return ManifestTable(Path(path))


def read_manifest(path: Path | str) -> list[Utterance]:
    """Every utterance of a manifest, in file order; raises as `open_manifest` does."""
    return list(open_manifest(path))


def read_references(path: Path | str) -> list[Utterance]:
    """The utterances of a manifest whose texts are to be compared with; ManifestError, too, if none has a text."""
    utterances = read_manifest(path)
    if not any(utterance.text.strip() for utterance in utterances):
        raise ManifestError(
            f"{path}: no row has a text to compare with; `asr transcribe {path} --model MODEL` writes what is said"
        )
    return utterances


class ManifestTable(Table):
    """See `open_manifest`."""

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
            made = path.with_suffix(".jsonl").name
            raise ManifestError(f"{path}: a table, no manifest; `asr data import {path} --out {made}` makes one of it")
        super().__init__(LineFiles([path], [str(path)]), check_row)
        self._folder = _real_folder(path.parent)
        if not len(self):
            raise ManifestError(f"{path}: the manifest is empty; prepare the corpus again")

    def utterance(self, row: dict[str, Any], file: int) -> Utterance:
        """A row, as `utterance_from_row` makes it."""
        return utterance_from_row(row, self._folder)


def write_manifest(path: Path | str, utterances: Iterable[Utterance]) -> None:
    """Write utterances, each as one line with keys in a fixed order and defaults left out; the file appears whole.

    ManifestError if `read_manifest` could not read the result back: no utterances, equal ids, impossible numbers.
    """
    path = Path(path)
    real_folder = functools.cache(_real_folder)
    folder = real_folder(path.parent)
    lines = []
    ids: set[str] = set()
    for utterance in utterances:
        if utterance.id in ids:
            raise ManifestError(f"{path}: id '{utterance.id}' comes twice; ids must differ")
        ids.add(utterance.id)
        row = _row(utterance, os.path.relpath(real_folder(utterance.audio.parent), folder))
        try:
            utterance_from_row(row, folder)
            line = json.dumps(row, ensure_ascii=False)
            line.encode()
        except (ManifestError, UnicodeEncodeError) as error:
            raise ManifestError(f"{path}: utterance {utterance.id!a} cannot be written: {error}") from error
        lines.append(line + "\n")
    if not lines:
        raise ManifestError(f"{path}: there are no utterances to write")
    write_text_atomic(path, "".join(lines))


def manifest_hash(path: Path | str) -> str:
    """SHA-256 of what a manifest says, in hex; see `RowIndex.content_hash`."""
    return open_manifest(path).content_hash


def manifest_row(utterance: Utterance, folder: Path) -> dict[str, Any]:
    """The JSON object of an utterance in a manifest that lies in `folder`, defaults left out; nothing is checked."""
    return _row(utterance, os.path.relpath(_real_folder(utterance.audio.parent), _real_folder(folder)))


def _real_folder(folder: Path) -> Path:
    """Without symbolic links, since `..` after one leads elsewhere for the system than for `os.path`."""
    return folder.resolve()


def _row(utterance: Utterance, audio_folder: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": utterance.id,
        "audio": Path(audio_folder, utterance.audio.name).as_posix(),
        "duration": utterance.duration,
        "text": utterance.text,
        "start": utterance.start,
        "speaker": utterance.speaker,
        "lang": utterance.lang,
    }
    defaults = {"text": "", "start": 0.0, "speaker": None, "lang": None}
    return {key: value for key, value in row.items() if key not in defaults or value != defaults[key]}
