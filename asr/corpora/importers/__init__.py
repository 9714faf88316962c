"""Other formats of manifests and corpora. A format is one file here; see `base.Importer`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from asr.audio.io import AudioInfo, audio_info
from asr.corpora.importers.base import IMPORTERS, Fault, Importer, ImportOptions, Row, first_json_row
from asr.errors import AudioError, ManifestError
from asr.registry import import_siblings
from asr.types import Utterance

import_siblings(__name__, __path__)

NUM_THREADS = 8  # headers are waited for, not computed
TOLERANCE = 0.1  # seconds that a row may reach beyond the end of its file, as in the doctor


@dataclass(frozen=True)
class Imported:
    """What a source holds."""

    format: str
    root: Path  # where relative audio paths started
    utterances: Sequence[Utterance]
    faults: Sequence[Fault]  # what was left out


def import_corpus(source: Path, format: str | None = None, options: ImportOptions | None = None) -> Imported:
    """Read a manifest or a corpus of another format, found out by looking unless `format` names one of IMPORTERS.

    Durations the source does not tell come from the headers of the audio files, which are looked at in any case. Rows
    that give no utterance, and rows whose audio cannot be opened, are faults. ManifestError if the source cannot be
    read at all, or is of no known format.
    """
    options = options or ImportOptions()
    if not source.exists():
        raise ManifestError(f"{source}: there is no such file or folder")
    if format is None:
        source = _only_table(source)
    importer = IMPORTERS[format] if format is not None else _detect(source)
    if options.columns and not importer.takes_columns:
        raise ManifestError(f"{source}: read as {importer.name}, which has no columns to choose")
    root = (options.root or importer.root(source)).absolute()
    return collect(importer.name, root, importer.read(source, options, root))


def collect(format: str, root: Path, found: Iterable[Row | Fault]) -> Imported:
    """Utterances of rows: with ids, durations and absolute paths."""
    rows: list[Row] = []
    faults: list[Fault] = []
    for one in found:
        if isinstance(one, Row):
            rows.append(one)
        else:
            faults.append(one)
    utterances: list[Utterance] = []
    place_of_id: dict[str, str] = {}
    headers = _headers(row.audio for row in rows)
    for row, id in zip(rows, _ids(rows), strict=True):
        made = _utterance(row, id, headers[row.audio])
        if isinstance(made, Utterance) and place_of_id.setdefault(id, row.where) != row.where:
            made = Fault(row.where, f"the id already stands at {place_of_id[id]}", id)
        if isinstance(made, Utterance):
            utterances.append(made)
        else:
            faults.append(made)
    return Imported(format, root, utterances, faults)


def _only_table(source: Path) -> Path:
    """The one table in a folder that is of no format itself, such as recordings with a list.csv; else the source."""
    if not source.is_dir() or any(importer.fits(source) for importer in IMPORTERS.values()):
        return source
    tables = [path for path in source.glob("*") if path.suffix.lower() in (".csv", ".tsv") and path.name[0] != "."]
    return tables[0] if len(tables) == 1 else source


def _detect(source: Path) -> Importer:
    for _, importer in sorted(IMPORTERS.items()):
        if importer.fits(source):
            return importer
    if {"id", "audio"} <= first_json_row(source).keys():
        raise ManifestError(f"{source}: is a manifest already; it can be used as it is")
    tables = sorted(path.name for path in source.glob("*") if path.suffix.lower() in (".csv", ".tsv"))
    inside = f"; name one of the tables in it: {', '.join(tables)}" if source.is_dir() and tables else ""
    names = sorted(IMPORTERS)
    known = "; ".join(f"{name} is {IMPORTERS[name].summary}" for name in names)
    raise ManifestError(f"{source}: of no known format{inside}; --format forces one of {', '.join(names)}: {known}")


def _headers(paths: Iterable[Path]) -> dict[Path, AudioInfo | AudioError]:
    distinct = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        return dict(zip(distinct, pool.map(_header, distinct), strict=True))


def _header(path: Path) -> AudioInfo | AudioError:
    try:
        return audio_info(path)
    except AudioError as error:
        return error
    except (OSError, ValueError) as error:  # a name that no file can have
        reason = getattr(error, "strerror", None) or error
        return AudioError(f"{str(path)!a}: cannot be read ({reason})")


def _utterance(row: Row, id: str, header: AudioInfo | AudioError) -> Utterance | Fault:
    if isinstance(header, AudioError):
        return Fault(row.where, str(header), id)
    duration = header.duration - row.start if row.duration is None else row.duration
    if (row.duration is None and duration <= 0) or row.start + duration > header.duration + TOLERANCE:
        begin, end = row.start, row.start + duration
        where = f"starts at {begin:g} s" if begin >= header.duration else f"goes on until {end:g} s"
        return Fault(row.where, f"{where}, {row.audio} ends at {header.duration:g} s", id)
    if duration <= 0:
        return Fault(row.where, f"lasts {duration:g} s; an utterance needs a duration above 0", id)
    if not id.strip():
        return Fault(row.where, "the id is empty")
    try:
        "".join([id, row.text, row.speaker or "", row.lang or ""]).encode()
    except UnicodeEncodeError:
        return Fault(row.where, "it holds half of a character (a lone surrogate), which no file can hold", id)
    return Utterance(id, row.audio.absolute(), duration, row.text, row.start, row.speaker, row.lang)


def _ids(rows: Sequence[Row]) -> Iterator[str]:
    """Ids of their own, or else paths below the folder that all share, without suffix; then milliseconds, if needed."""
    nameless = [row for row in rows if row.id is None]
    folder = os.path.commonpath([row.audio.parent.absolute() for row in nameless]) if nameless else ""
    uses = Counter(row.audio for row in nameless)
    for row in rows:
        if row.id is not None:
            yield row.id
            continue
        name = Path(os.path.relpath(row.audio, folder).removesuffix(row.audio.suffix)).as_posix()
        yield name if uses[row.audio] == 1 else f"{name}-{round(1000 * row.start):07d}"
