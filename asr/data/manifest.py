"""Manifests: one JSON line per utterance, strict about what stands in it.

    {"id": "fcaw-an406", "audio": "wav/fcaw/an406.sph", "duration": 3.4, "text": "rubout g m e f three nine"}

Optional keys are `start` (seconds into the audio), `speaker` and `lang`. Audio paths are relative to the manifest's
folder on disk and absolute in memory. Blank lines are skipped.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.errors import ManifestError
from asr.registry import did_you_mean
from asr.runtime import write_text_atomic
from asr.types import Utterance

KEYS = ("id", "audio", "duration", "text", "start", "speaker", "lang")
REQUIRED = ("id", "audio", "duration")


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
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise ManifestError(f"{path}: cannot read the manifest ({error.strerror}); check the path") from error
    folder = _real_folder(path.parent)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield ManifestLine(number, line, _parse(line, folder))
        except ManifestError as error:
            yield ManifestLine(number, line, None, error)


def read_manifest(path: Path | str) -> list[Utterance]:
    """Every utterance of a manifest, in file order; ManifestError as `path:line: ...` for the first bad line."""
    utterances = []
    line_of_id: dict[str, int] = {}
    for line in read_lines(path):
        if line.utterance is None:
            raise ManifestError(f"{path}:{line.number}: {line.error}") from line.error
        identifier = line.utterance.id
        first = line_of_id.setdefault(identifier, line.number)
        if first != line.number:
            raise ManifestError(
                f"{path}:{line.number}: id '{identifier}' already stands in line {first}; ids must differ"
            )
        utterances.append(line.utterance)
    if not utterances:
        raise ManifestError(f"{path}: the manifest is empty; prepare the corpus again")
    return utterances


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
    """SHA-256 of what a manifest says, in hex; see `content_hash`."""
    return content_hash(read_manifest(path))


def content_hash(utterances: Iterable[Utterance]) -> str:
    """SHA-256 over ids, texts, durations and starts in order, in hex: the same wherever the audio lies."""
    digest = hashlib.sha256()
    for utterance in utterances:
        row = [utterance.id, utterance.text, float(utterance.duration), float(utterance.start)]
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


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


def _parse(line: bytes, folder: Path) -> Utterance:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise ManifestError("the line is not UTF-8; convert the file") from error
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"the line is not JSON ({error})") from error
    if not isinstance(row, dict):
        raise ManifestError('the line is not a JSON object; expected {"id": ..., "audio": ..., "duration": ...}')
    return utterance_from_row(row, folder)


def utterance_from_row(row: dict[str, Any], folder: Path) -> Utterance:
    """A row of a manifest in `folder`; ManifestError, without a place, if it is not one."""
    if "shard" in row:
        raise ManifestError("this is an index of shards, which only `data.train` of an experiment can name")
    for key in row:
        if key not in KEYS:
            raise ManifestError(f"unknown key '{key}'{did_you_mean(key, KEYS)}")
    for key in REQUIRED:
        if key not in row:
            raise ManifestError(f"key '{key}' is missing")
    audio = _text(row, "audio")
    if not audio or "\0" in audio:
        raise ManifestError("'audio' is not a path")
    return Utterance(
        id=_identifier(row),
        audio=Path(os.path.normpath(folder / audio)),
        duration=_seconds(row, "duration"),
        text=_text(row, "text"),
        start=_seconds(row, "start"),
        speaker=_text(row, "speaker") if row.get("speaker") is not None else None,
        lang=_text(row, "lang") if row.get("lang") is not None else None,
    )


def _identifier(row: dict[str, Any]) -> str:
    identifier = _text(row, "id")
    if not identifier.strip():
        raise ManifestError("'id' is empty; give every utterance an id of its own")
    return identifier


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key, "")
    if not isinstance(value, str):
        raise ManifestError(f"'{key}' must be a string, not {json.dumps(value)}")
    return value


def _seconds(row: dict[str, Any], key: str) -> float:
    value = row.get(key, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ManifestError(f"'{key}' must be a number of seconds, not {json.dumps(value)}")
    if not 0 <= value <= sys.float_info.max:
        raise ManifestError(f"'{key}' is {value}; it must be finite and not negative")
    return float(value)
