"""Who spoke: from a file, or from the ids where these begin with the speaker."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from asr.errors import ScoringError
from asr.system.text_files import read_text

_PREFIX = re.compile(r"([^-_]+)[-_]")


def read_speakers(path: Path) -> dict[str, str]:
    """Speaker by utterance id from lines "id speaker", Kaldi's utt2spk. ScoringError, with path and line, otherwise."""
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        raise ScoringError(f"{path}: cannot read the speakers ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ScoringError(f"{path}: not UTF-8 text; convert the file") from error
    speakers: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2:
            raise ScoringError(f"{path}:{number}: expected 'id speaker'")
        if speakers.setdefault(*fields) != fields[1]:
            raise ScoringError(f"{path}:{number}: id '{fields[0]}' already has the speaker '{speakers[fields[0]]}'")
    return speakers


def speaker_lookup(path: Path | None, from_id: bool) -> Callable[[str], str | None] | None:
    """Who spoke an utterance id, from the file or, without one, from the id; None where neither is wanted."""
    if path is not None:
        return read_speakers(path).get
    return speaker_prefix if from_id else None


def speaker_prefix(utterance_id: str) -> str | None:
    """What stands before the first hyphen or underscore, Kaldi's habit and sclite's spu_id; None without one."""
    match = _PREFIX.match(utterance_id)
    return match[1] if match else None
