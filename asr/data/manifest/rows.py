"""Rows of manifests: one JSON object per utterance, strict about what stands in it."""

from __future__ import annotations

import codecs
import json
import os
import sys
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any

from asr.errors import ManifestError, TextError
from asr.registry import did_you_mean
from asr.system.text_files import unique_keys
from asr.types import Utterance

KEYS = ("id", "audio", "duration", "text", "start", "speaker", "lang")
REQUIRED = ("id", "audio", "duration")
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_KNOWN = frozenset(KEYS)


def parse_object(line: bytes) -> dict[str, Any]:
    """The JSON object of a line; ManifestError, without a place, if it holds none."""
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        kind = "is UTF-16, not UTF-8" if line.startswith(UTF_16_MARKS) else "is not UTF-8"
        raise ManifestError(f"the line {kind}; convert the file") from error
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"the line is not JSON ({error})") from error
    if isinstance(row, dict) and line.count(b'":') > len(row):  # a text may hold this, too; checking all takes longer
        try:
            json.loads(line.decode(), object_pairs_hook=unique_keys)
        except TextError as error:
            raise ManifestError(str(error)) from error
    if not isinstance(row, dict):
        raise ManifestError('the line is not a JSON object; expected {"id": ..., "audio": ..., "duration": ...}')
    return row


def utterance_from_row(row: dict[str, Any], folder: Path) -> Utterance:
    """A row of a manifest in `folder`; ManifestError, without a place, if it is not one."""
    check_row(row)
    return Utterance(
        id=row["id"],
        audio=Path(os.path.normpath(folder / row["audio"])),
        duration=float(row["duration"]),
        text=row.get("text", ""),
        start=float(row.get("start", 0.0)),
        speaker=row.get("speaker"),
        lang=row.get("lang"),
    )


def check_row(row: dict[str, Any]) -> None:
    """ManifestError, without a place, unless the object is a row of a manifest."""
    if not row.keys() <= _KNOWN:
        raise _unknown_key(row)
    for key in REQUIRED:
        if key not in row:
            raise ManifestError(f"key '{key}' is missing")
    audio = _text(row, "audio")
    if not audio or "\0" in audio:
        raise ManifestError("'audio' is not a path")
    identifier = _text(row, "id")
    if not identifier or identifier.isspace():
        raise ManifestError("'id' is empty; give every utterance an id of its own")
    _check_seconds(row, "duration")
    _text(row, "text")
    _check_seconds(row, "start")
    for key in ("speaker", "lang"):
        if row.get(key) is not None:
            _text(row, key)


def content_line(id: str, text: str, duration: float, start: float) -> bytes:
    """What the content hash takes in of one row: the JSON list of the arguments and a line feed."""
    # `json.dumps` writes the same, in four times the time.
    strings = f"{encode_basestring_ascii(id)}, {encode_basestring_ascii(text)}"
    return f"[{strings}, {float(duration)!r}, {float(start)!r}]\n".encode()


def _unknown_key(row: dict[str, Any]) -> ManifestError:
    if "shard" in row:
        return ManifestError("this is an index of shards, which only `data.train` of an experiment can name")
    key = next(key for key in row if key not in _KNOWN)
    return ManifestError(f"unknown key '{key}'{did_you_mean(key, KEYS)}")


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key, "")
    if not isinstance(value, str):
        raise ManifestError(f"'{key}' must be a string, not {json.dumps(value)}")
    return value


def _check_seconds(row: dict[str, Any], key: str) -> None:
    value = row.get(key, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ManifestError(f"'{key}' must be a number of seconds, not {json.dumps(value)}")
    if not 0 <= value <= sys.float_info.max:
        raise ManifestError(f"'{key}' is {value}; it must be finite and not negative")
