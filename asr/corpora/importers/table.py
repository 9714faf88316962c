"""Tables: CSV and TSV with a line of column names, Common Voice's among them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from asr.corpora.importers.base import Fault, ImportOptions, Row, read_text, register, seconds
from asr.errors import ManifestError
from asr.registry import did_you_mean

SUFFIXES = {".csv": ",", ".tsv": "\t"}
CLIPS = "clips"  # Common Voice's folder beside its tables
# Columns that are found by themselves. Times are not: nobody knows their unit.
KNOWN: dict[str, tuple[str, ...]] = {
    "audio": ("audio", "path", "audio_path", "audio_filepath", "file_name", "filename", "file", "wav"),
    "text": ("text", "sentence", "transcription", "transcript", "normalized_text"),
    "id": ("id", "utt_id", "utterance_id"),
    "speaker": ("speaker", "client_id", "speaker_id", "spk_id"),
    "lang": ("lang", "locale", "language"),
}


@register
class TableImporter:
    """Relative paths start at `clips`, if there is such a folder beside the table, or else at the table's folder."""

    name = "table"
    takes_columns = True

    def fits(self, source: Path) -> bool:
        """A .csv or .tsv file."""
        return source.is_file() and source.suffix.lower() in SUFFIXES

    def root(self, source: Path) -> Path:
        """The folder of the clips, or of the table."""
        clips = source.parent / CLIPS
        return clips if clips.is_dir() else source.parent

    def read(self, source: Path, options: ImportOptions, root: Path) -> Iterator[Row | Fault]:
        """One row a line; ManifestError if a column is missing."""
        return read_table(table_rows(source), source, options.columns, root)


def table_rows(source: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """`file:line` and cells of every line by column name. In a .tsv a quotation mark is one, as Common Voice has it."""
    delimiter = SUFFIXES.get(source.suffix.lower(), ",")
    csv.field_size_limit(1 << 27)
    lines = io.StringIO(read_text(source), newline="")
    if delimiter == "\t":
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, delimiter=delimiter)
    try:
        names = next(reader, [])
        yield f"{source}:1", dict(zip(names, names, strict=True))
        for cells in reader:
            if cells:
                yield f"{source}:{reader.line_num}", dict(zip(names, cells, strict=False))
    except csv.Error as error:
        raise ManifestError(f"{source}:{reader.line_num}: not a table ({error})") from error


def read_table(
    rows: Iterator[tuple[str, dict[str, str]]], source: Path, columns: Mapping[str, str], root: Path
) -> Iterator[Row | Fault]:
    """Rows of a table whose first one gives the column names."""
    _, header = next(rows)
    chosen = choose_columns(list(header), source, columns)
    for where, cells in rows:
        values = {field: cells.get(name, "") for field, name in chosen.items()}
        id = values.get("id") or None
        try:
            if not values["audio"]:
                raise ManifestError(f"column '{chosen['audio']}' is empty")
            yield Row(
                where,
                root / values["audio"],
                id,
                text=values.get("text", ""),
                start=seconds(values["start"], chosen["start"]) if values.get("start") else 0.0,
                duration=seconds(values["duration"], chosen["duration"]) if values.get("duration") else None,
                speaker=values.get("speaker") or None,
                lang=values.get("lang") or None,
            )
        except ManifestError as error:
            yield Fault(where, str(error), id)


def choose_columns(names: Sequence[str], source: Path, columns: Mapping[str, str]) -> dict[str, str]:
    """Field -> column: those that the user names, and those known by name. Audio and text must be found."""
    for field, name in columns.items():
        if name not in names:
            raise ManifestError(f"{source}: there is no column '{name}' for {field}{did_you_mean(name, names)}")
    found = {field: name for field, known in KNOWN.items() for name in reversed(known) if name in names}
    chosen = found | dict(columns)
    for field in ("audio", "text"):
        if field not in chosen:
            listed = ", ".join(names) or "none"
            raise ManifestError(
                f"{source}: no column is known to hold {field}; name one of {listed} (--{field}-column)"
            )
    return chosen
