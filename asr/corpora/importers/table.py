"""Tables: CSV and its relatives, with a line of column names or without, Common Voice's and LJSpeech's among them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path

from asr.audio.io import AUDIO_SUFFIXES
from asr.corpora.importers.base import NUL, Fault, ImportOptions, Row, find_audio, read_text, register, seconds
from asr.errors import ManifestError
from asr.registry import did_you_mean
from asr.system.display import counted

SUFFIXES = {".csv": ",", ".tsv": "\t", ".psv": "|", ".txt": "|"}  # with what separates cells, unless another one does
SEPARATORS = (",", "\t", ";", "|")
SEPARATOR = re.compile("[,\t;|]")
UNQUOTED = ("\t", "|")  # in such tables a quotation mark is one, as Common Voice and LJSpeech have it
CLIPS = "clips"  # Common Voice's folder next to its tables
AUDIO_FOLDERS = (CLIPS, "wavs", "wav", "audio")  # LJSpeech's, and customary ones
TABLES = tuple(f"metadata{suffix}" for suffix in SUFFIXES)  # of a folder, LJSpeech's the first
NUM_PROBED, PROBED_CHARACTERS = 20, 1 << 16  # rows, and where they stand, that decide what separates cells
# Columns that are found by themselves, in any case. Times are not: nobody knows their unit.
KNOWN: dict[str, tuple[str, ...]] = {
    "audio": ("audio", "path", "audio_path", "audio_filepath", "file_name", "filename", "file", "wav"),
    "text": ("text", "sentence", "transcription", "transcript", "normalized_text"),
    "id": ("id", "utt_id", "utterance_id"),
    "speaker": ("speaker", "client_id", "speaker_id", "spk_id"),
    "lang": ("lang", "locale", "language"),
}
STARTS = (
    "start",
    "start_time",
    "begin",
    "offset",
    "from",
    "onset",
    "start_s",
    "start_sec",
    "start_ms",
    "segment_start",
)
NO_COLUMN = "none"  # for a field that is in no column, whatever their names say

Cells = tuple[str, list[str] | Fault]  # after `file:line`


@register
class TableImporter:
    """Relative paths start at `clips`, if there is such a folder next to the table, or else at the table's folder."""

    name = "table"
    summary = (
        "a file of cells between commas, tabs, semicolons or bars, with column names (audio and text, or Common "
        "Voice's) or without (LJSpeech's id|text|text)"
    )
    takes_columns = True

    def fits(self, source: Path) -> bool:
        """A .csv or .tsv file, another one whose first column names audio, or a folder with metadata.csv."""
        table = _table_of(source)
        if not table.is_file() or table.suffix.lower() not in SUFFIXES:
            return False
        return table.suffix.lower() in (".csv", ".tsv") or _looks_like_a_table(table)

    def root(self, source: Path) -> Path:
        """The folder of the clips, or of the table."""
        folder = _table_of(source).parent
        return folder / CLIPS if (folder / CLIPS).is_dir() else folder

    def read(self, source: Path, options: ImportOptions, root: Path) -> Iterator[Row | Fault]:
        """One row a line; ManifestError if a column is missing."""
        table = _table_of(source)
        folders = [root] if options.root else audio_folders(table.parent)
        return read_table(table_cells(table, folders, options.columns), table, options.columns, folders)


def audio_folders(folder: Path) -> list[Path]:
    """Where the audio of a table in this folder may lie, best first."""
    named = [folder / name for name in AUDIO_FOLDERS if (folder / name).is_dir()]
    return sorted([folder, *named], key=lambda one: one.name != CLIPS or one == folder)


def _table_of(source: Path) -> Path:
    return next((source / name for name in TABLES if (source / name).is_file()), source) if source.is_dir() else source


def _looks_like_a_table(table: Path) -> bool:
    try:
        _, cells = next(table_cells(table, audio_folders(table.parent), {}))
    except ManifestError:
        return False
    return isinstance(cells, list) and _knows(cells, {})


def table_cells(source: Path, folders: Sequence[Path], columns: Mapping[str, str]) -> Iterator[Cells]:
    """`file:line` and cells of every line that is not blank, that of the column names first.

    Without such a line, which is one where a cell names audio in the folders, columns are called 1, 2 and so on, and
    those of audio and text `audio` and `text` where they are recognised. A line that cannot be taken apart is a fault.
    """
    text = read_text(source)
    separator = _separator(text, SUFFIXES.get(source.suffix.lower(), ","), folders, columns)
    rows = _split(text, separator, source)
    where, cells = next(rows, (f"{source}:1", []))
    if isinstance(cells, Fault):
        raise ManifestError(f"{where}: {cells.reason}")
    if (names := _column_names(cells, folders, columns)) is not None:
        yield where, names
        yield where, cells
    else:
        yield where, [name.strip() for name in cells]
    yield from rows


def _separator(text: str, usual: str, folders: Sequence[Path], columns: Mapping[str, str]) -> str:
    """What stands between cells: what makes sense of the first line, or else gives equal rows; the usual one first."""
    consistent = None
    for separator in (usual, *(other for other in SEPARATORS if other != usual)):
        probed = islice(_split(text[:PROBED_CHARACTERS], separator, Path()), NUM_PROBED)
        rows = [[cell.strip() for cell in cells] for _, cells in probed if isinstance(cells, list)]
        if not rows or len(rows[0]) < 2:
            continue
        if _knows(rows[0], columns) or _column_names(rows[0], folders, columns) is not None:
            return separator
        if consistent is None and all(len(cells) == len(rows[0]) for cells in rows):
            consistent = separator
    return consistent or usual


def _knows(names: Sequence[str], columns: Mapping[str, str]) -> bool:
    """Whether audio and text are among the columns of these names."""
    found = _known_columns(names) | {field: name for field, name in columns.items() if name in names}
    return {"audio", "text"} <= found.keys()


def _known_columns(names: Sequence[str]) -> dict[str, str]:
    """Field -> column, for columns known by name."""
    plain = {name.casefold(): name for name in reversed(names)}
    return {field: plain[name] for field, known in KNOWN.items() for name in reversed(known) if name in plain}


def _column_names(cells: Sequence[str], folders: Sequence[Path], columns: Mapping[str, str]) -> list[str] | None:
    """Names for the columns of a table whose first row is one of audio; None if it is column names.

    Numbers from 1, and `audio` and `text` where they can be recognised and the user names no others.
    """
    is_audio = [_names_audio(cell, folders) for cell in cells]
    if True not in is_audio or _knows(cells, columns):
        return None
    names = [str(number) for number in range(1, len(cells) + 1)]
    audio = is_audio.index(True)
    is_ljspeech = audio == 0 and len(cells) == 3 and Path(cells[0]).suffix.lower() not in AUDIO_SUFFIXES
    if "text" not in columns and (is_ljspeech or len(cells) == 2):
        names[2 if is_ljspeech else 1 - audio] = "text"  # LJSpeech's last column has numbers written out
    if "audio" not in columns:
        names[audio] = "audio"
    return names


def _names_audio(cell: str, folders: Sequence[Path]) -> bool:
    name = cell.strip()
    if not name or "\n" in name:
        return False
    return Path(name).suffix.lower() in AUDIO_SUFFIXES or find_audio(name, folders).is_file()


def _split(text: str, separator: str, source: Path) -> Iterator[Cells]:
    """The cells of every line that is not blank. Of a quotation mark without its partner the lines are one fault."""
    csv.field_size_limit(1 << 27)
    content = io.StringIO(text, newline="")
    if separator in UNQUOTED:
        reader = csv.reader(content, delimiter=separator, quoting=csv.QUOTE_NONE, strict=True)
    else:
        reader = csv.reader(content, delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        where = f"{source}:{line}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines = f"lines {line} to {reader.line_num} are" if reader.line_num > line else "the line is"
            yield where, Fault(where, f"{lines} not a row of a table ({error})")
            continue
        if len(cells) > 1 or "".join(cells).strip():
            yield where, cells


@dataclass(frozen=True)
class _Columns:
    """Which cell holds which field."""

    names: Mapping[str, str]  # field -> name of its column
    places: Mapping[str, int]  # field -> number of its column, from 0
    count: int
    folders: Sequence[Path]

    def is_cut(self, cells: Sequence[str]) -> bool:
        """Whether a line looks like the rest of the one before: too few cells, and none of them audio."""
        place = self.places["audio"]
        return len(cells) < self.count and not (place < len(cells) and _names_audio(cells[place], self.folders))

    def row(self, where: str, cells: Sequence[str]) -> Row | Fault:
        """The row of a line with as many cells as there are columns."""
        values = {field: cells[place].strip() for field, place in self.places.items()}
        id = values.get("id") or None
        try:
            if NUL in "".join(cells):
                raise ManifestError("it holds a NUL character; the file is damaged")
            if not values["audio"]:
                raise ManifestError(f"column '{self.names['audio']}' is empty")
            later = [SEPARATOR.split(line)[0] for line in values["text"].split("\n")[1:]]
            if any(_names_audio(name, self.folders) for name in later):
                rows = counted(len(later), "line")
                raise ManifestError(
                    f"its text goes on over {rows} that look like rows: a quotation mark has no partner"
                )
            start = seconds(values["start"], self.names["start"]) if values.get("start") else 0.0
            return Row(
                where,
                find_audio(values["audio"], self.folders),
                id,
                text=values["text"],
                start=start,
                duration=self._duration(values, start),
                speaker=values.get("speaker") or None,
                lang=values.get("lang") or None,
            )
        except ManifestError as error:
            return Fault(where, str(error), id)

    def _duration(self, values: Mapping[str, str], start: float) -> float | None:
        """Seconds, from one of two columns; None where both are empty or absent."""
        if values.get("duration"):
            return seconds(values["duration"], self.names["duration"])
        if not values.get("end"):
            return None
        end = seconds(values["end"], self.names["end"])
        if end <= start:
            raise ManifestError(f"it starts at {start:g} s and ends at {end:g} s")
        return float(Decimal(str(end)) - Decimal(str(start)))


def read_table(
    rows: Iterable[Cells], source: Path, columns: Mapping[str, str], folders: Sequence[Path]
) -> Iterator[Row | Fault]:
    """Rows of a table whose first line gives the column names.

    A line of too few or too many cells is a fault. So is the line before one that looks like its rest, since part of
    its text stands there.
    """
    rows = iter(rows)
    _, header = next(rows)
    assert not isinstance(header, Fault)
    chosen = choose_columns(header, source, columns)
    found = _Columns(chosen, {field: header.index(name) for field, name in chosen.items()}, len(header), folders)
    before: Row | Fault | None = None
    for where, cells in rows:
        if isinstance(cells, Fault):
            made: Row | Fault = cells
        elif len(cells) != len(header):
            reason = f"{counted(len(cells), 'cell')}, but {counted(len(header), 'column')}"
            made = Fault(where, f"{reason}; a separator or a line end may stand inside a text, or one is missing")
            if isinstance(before, Row) and found.is_cut(cells):
                before = Fault(before.where, f"the line after it, {where}, looks like the rest of its text", before.id)
        else:
            made = found.row(where, cells)
        if before is not None:
            yield before
        before = made
    if before is not None:
        yield before


def choose_columns(names: Sequence[str], source: Path, columns: Mapping[str, str]) -> dict[str, str]:
    """Field -> column: those that the user names, and those known by name. Audio and text must be found, once each."""
    for field, name in columns.items():
        if name not in names and (field, name) != ("start", NO_COLUMN):
            raise ManifestError(f"{source}: there is no column '{name}' for {field}{did_you_mean(name, names)}")
    if not names:
        raise ManifestError(f"{source}: the table is empty; export it again")
    chosen = _known_columns(names) | dict(columns)
    timed = next((name for name in names if name.casefold() in STARTS), None)
    if timed is not None and "start" not in columns:  # else each text would be put to a whole recording
        raise ManifestError(
            f"{source}: column '{timed}' may say where in a recording a text is said; name the columns if they are "
            f"seconds (--start-column {timed}, and --end-column or --duration-column), or --start-column {NO_COLUMN}"
        )
    chosen = {field: name for field, name in chosen.items() if name != NO_COLUMN or field != "start"}
    for field in ("audio", "text"):
        if field not in chosen:
            listed = ", ".join(names) or "none"
            raise ManifestError(
                f"{source}: no column is known to hold {field}; name one of {listed} (--{field}-column)"
            )
    plain = [name.casefold() for name in names]
    for name in chosen.values():
        if plain.count(name.casefold()) > 1:
            raise ManifestError(f"{source}: there are several columns '{name}'; give each a name of its own")
    return chosen
