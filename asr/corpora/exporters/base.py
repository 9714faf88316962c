"""What exporters share: where audio is, what recordings are called, files that may be gzipped."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from asr.system.runtime import atomic_path
from asr.types import Utterance


class Exporter(Protocol):
    """Writes one format. Instances are filed in EXPORTERS under their name."""

    name: str

    def write(self, utterances: Sequence[Utterance], out: Path, root: Path | None) -> list[str]:
        """Write all utterances and return warnings; ManifestError, before anything is written, if one does not fit.

        Paths are relative to `root`, or absolute without one.
        """


EXPORTERS: dict[str, Exporter] = {}


def register(exporter: type[Exporter]) -> type[Exporter]:
    """Class decorator: file an instance under its name."""
    assert exporter.name not in EXPORTERS
    EXPORTERS[exporter.name] = exporter()
    return exporter


def audio_path(audio: Path, root: Path | None) -> str:
    """How a file is named in the export."""
    return str(audio) if root is None else os.path.relpath(audio, root.absolute())


def recording_ids(audios: Iterable[Path]) -> dict[Path, str]:
    """A name without spaces for every file: its path below the folder that all share, numbered where that is taken."""
    distinct = list(dict.fromkeys(audios))
    folder = os.path.commonpath([audio.parent for audio in distinct])
    ids: dict[Path, str] = {}
    taken: set[str] = set()
    for audio in distinct:
        path = str(audio.relative_to(folder)).removesuffix(audio.suffix)
        plain = re.sub(r"[\s/]", lambda found: "-" if found[0] == "/" else "_", path)
        name, number = plain, 1
        while name in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name)
        ids[audio] = name
    return ids


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write UTF-8 lines, gzipped if the name ends in .gz; the file appears whole."""
    content = "".join(f"{line}\n" for line in lines).encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
