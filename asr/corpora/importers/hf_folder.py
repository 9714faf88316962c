"""Audio folders as Hugging Face's datasets read them: audio next to a metadata.csv or metadata.jsonl with file_name."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.corpora.importers.base import Fault, ImportOptions, Row, json_rows, register
from asr.corpora.importers.table import Cells, choose_columns, read_table, table_cells
from asr.errors import ManifestError

METADATA = ("metadata.csv", "metadata.jsonl")
COLUMN = "file_name"
HEAD_BYTES = 1 << 16  # where the first line stands
DEPTHS = ("", "*/", "*/*/")  # where the metadata of splits lie: data/train/metadata.csv


@register
class HfFolderImporter:
    """Paths start at the folder of the metadata file."""

    name = "hf_folder"
    summary = "a folder with metadata.csv or metadata.jsonl, whose column file_name names the audio (Hugging Face)"
    takes_columns = True

    def fits(self, source: Path) -> bool:
        """A folder with one of the metadata files, or with folders that have one."""
        return source.is_dir() and bool(_metadata_files(source))

    def root(self, source: Path) -> Path:
        """The folder of the metadata."""
        found = _metadata_files(source)
        return found[0].parent if len(found) == 1 else source

    def read(self, source: Path, options: ImportOptions, root: Path) -> Iterator[Row | Fault]:
        """One row a line of metadata; ManifestError if there is none, or if the folder holds several splits."""
        found = _metadata_files(source)
        if len(found) != 1:
            folders = ", ".join(sorted({path.parent.relative_to(source).as_posix() for path in found}))
            advice = f"name one of its folders {folders}" if found else f"it needs one with {COLUMN}"
            raise ManifestError(f"{source}: no {' or '.join(METADATA)} here; {advice}")
        columns = {"audio": COLUMN, **options.columns}
        is_csv = found[0].suffix == ".csv"
        rows = table_cells(found[0], [root], columns) if is_csv else _json_cells(found[0], columns)
        return read_table(rows, found[0], columns, [root])


def _metadata_files(source: Path) -> list[Path]:
    """Those of the folder itself, or else all that lie in its folders."""
    for depth in DEPTHS:
        found = [path for name in METADATA for path in sorted(source.glob(f"{depth}{name}")) if _names_files(path)]
        if found:
            return list({path.parent: path for path in reversed(found)}.values())  # of two in a folder, the first kind
    return []


def _names_files(path: Path) -> bool:
    """Whether the first line speaks of file names; LJSpeech's metadata.csv has other columns, and no line for them."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    is_utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return COLUMN in head.decode("utf-16" if is_utf16 else "utf-8", errors="ignore").partition("\n")[0]


def _json_cells(path: Path, columns: Mapping[str, str]) -> Iterator[Cells]:
    """JSON lines as a table: a first row with all their keys, then their values as text."""
    rows = list(json_rows(path))
    names = list(dict.fromkeys(key for _, row in rows if isinstance(row, dict) for key in row))
    yield f"{path}:1", names
    chosen = choose_columns(names, path, columns)
    for where, row in rows:
        yield where, row if isinstance(row, Fault) else _cells(where, row, names, chosen)


def _cells(where: str, row: dict[str, Any], names: Sequence[str], chosen: Mapping[str, str]) -> list[str] | Fault:
    """The values of all keys; a row with something else than texts and numbers where they matter is a fault."""
    for name in chosen.values():
        value = row.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float | None):
            return Fault(where, f"'{name}' must be a string, not {json.dumps(value)}")
    return ["" if row.get(name) is None else str(row[name]) for name in names]
