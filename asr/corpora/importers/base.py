"""What every importer gives: rows as their source tells them, and what is wrong with the others."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from asr.audio.io import AUDIO_SUFFIXES
from asr.errors import ManifestError, TextError
from asr.system.text_files import decode_text, unique_keys

NUL = "\0"  # in a line of text, a sign of damage
FIELDS = ("audio", "text", "id", "speaker", "lang", "start", "duration", "end")  # what a column of a table may hold


@dataclass(frozen=True)
class Row:
    """An utterance, as far as its source knows it."""

    where: str  # "segments:12", for messages
    audio: Path
    id: str | None = None  # None: made from the path of the audio
    text: str = ""
    start: float = 0.0  # seconds
    duration: float | None = None  # seconds; None: until the end of the file
    speaker: str | None = None
    lang: str | None = None


@dataclass(frozen=True)
class Fault:
    """A row, or a file, that gives no utterance."""

    where: str
    reason: str
    id: str | None = None


@dataclass(frozen=True)
class ImportOptions:
    """What the user says about a source."""

    root: Path | None = None  # where relative audio paths start
    columns: Mapping[str, str] = field(default_factory=dict)  # one of FIELDS -> name of a column in a table


class Importer(Protocol):
    """Reads one format. Instances are filed in IMPORTERS under their name."""

    name: str
    summary: str  # for people: the rest of a line "NAME is ..."
    takes_columns: bool  # whether `ImportOptions.columns` mean anything

    def fits(self, source: Path) -> bool:
        """Whether a file or folder that exists looks like this format."""

    def root(self, source: Path) -> Path:
        """Where relative audio paths start, unless the user says otherwise."""

    def read(self, source: Path, options: ImportOptions, root: Path) -> Iterator[Row | Fault]:
        """Every row in file order; ManifestError if the source as a whole cannot be read."""


IMPORTERS: dict[str, Importer] = {}


def register(importer: type[Importer]) -> type[Importer]:
    """Class decorator: file an instance under its name."""
    assert importer.name not in IMPORTERS
    IMPORTERS[importer.name] = importer()
    return importer


def read_text(path: Path) -> str:
    """A text file, gzipped if its name ends in .gz, without a byte order mark; ManifestError naming it."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        return decode_text(content)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ManifestError(f"{path}:{line}: not {error.encoding.upper()}; convert the file") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ManifestError(f"{path}: damaged gzip file ({error}); copy it again") from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether a path below a folder is one that people do not see: macOS puts a `._a.wav` next to every a.wav."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)


def find_audio(name: str, folders: Sequence[Path]) -> Path:
    """The file of a name, which may lack its suffix, in the first of the folders that has it.

    A name that is nowhere stands for the file that it would be in the first folder.
    """
    candidates = [folder / name for folder in folders]
    try:
        if (found := next((path for path in candidates if path.is_file()), None)) is not None:
            return found
        for path in candidates:
            for suffix in sorted(AUDIO_SUFFIXES):
                if (longer := path.with_name(path.name + suffix)).is_file():
                    return longer
    except (OSError, ValueError):  # a name that no file can have; its row is a fault when it is opened
        pass
    return candidates[0]


def json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | Fault]]:
    """`file:line` and object of every line that is not blank; a Fault for a line that is none."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line, object_pairs_hook=unique_keys)
        except TextError as error:
            yield where, Fault(where, str(error))
            continue
        except (ValueError, RecursionError) as error:
            yield where, Fault(where, f"the line is not JSON ({error})")
            continue
        yield where, row if isinstance(row, dict) else Fault(where, "the line is not a JSON object")


def first_json_row(path: Path) -> dict[str, Any]:
    """The object in the first line that is not blank; empty if there is none, or if the file is something else."""
    if not path.is_file() or not {".jsonl", ".json"} & set(path.suffixes[-2:]):
        return {}
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            encoding = "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
            file.seek(0)
            lines = io.TextIOWrapper(file, encoding, newline="\n")
            row = json.loads(next((line for line in lines if line.strip()), "{}"))
    except (OSError, EOFError, zlib.error, ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def optional_text(row: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    """The first of these keys that is there and not null; ManifestError if it is not a string."""
    for key in keys:
        value = row.get(key)
        if isinstance(value, str):
            return value
        if value is not None:
            raise ManifestError(f"'{key}' must be a string, not {json.dumps(value)}")
    return None


def seconds(value: object, name: str) -> float:
    """A finite number of seconds, also as text, not below 0; ManifestError otherwise."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise ManifestError(f"'{name}' is {value}; it must be a finite number of seconds, not below 0")
    return number
