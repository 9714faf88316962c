"""Audio folders as Hugging Face's datasets read them: audio beside a metadata.csv or metadata.jsonl with file_name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from asr.corpora.importers.base import Fault, ImportOptions, Row, json_rows, register
from asr.corpora.importers.table import read_table, table_rows
from asr.errors import ManifestError

METADATA = ("metadata.csv", "metadata.jsonl")
COLUMN = "file_name"


@register
class HfFolderImporter:
    """Paths start at the folder of the metadata file."""

    name = "hf_folder"
    takes_columns = True

    def fits(self, source: Path) -> bool:
        """A folder with one of the metadata files, or with folders that have one."""
        patterns = [pattern for name in METADATA for pattern in (name, f"*/{name}")]
        return source.is_dir() and any(_names_files(path) for pattern in patterns for path in source.glob(pattern))

    def root(self, source: Path) -> Path:
        """The folder itself."""
        return source

    def read(self, source: Path, options: ImportOptions, root: Path) -> Iterator[Row | Fault]:
        """One row a line of metadata; ManifestError if there is none, or if the folder holds several splits."""
        found = [source / name for name in METADATA if (source / name).is_file()]
        if not found:
            splits = sorted({path.parent.name for name in METADATA for path in source.glob(f"*/{name}")})
            raise ManifestError(
                f"{source}: no {' or '.join(METADATA)} here; name one of its folders {', '.join(splits)}"
            )
        columns = {"audio": COLUMN, **options.columns}
        rows = table_rows(found[0]) if found[0].suffix == ".csv" else _json_table(found[0])
        return read_table(rows, found[0], columns, root)


def _names_files(path: Path) -> bool:
    """Whether the first line speaks of file names; LJSpeech's metadata.csv has other columns, and no line for them."""
    with open(path, "rb") as file:
        return COLUMN.encode() in file.readline(1 << 16)


def _json_table(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """JSON lines as a table: a first row with all their keys, then their values as text."""
    rows = list(json_rows(path))
    for _, row in rows:
        if isinstance(row, Fault):
            raise ManifestError(f"{row.where}: {row.reason}")
    objects = [(where, row) for where, row in rows if isinstance(row, dict)]
    names = list(dict.fromkeys(key for _, row in objects for key in row))
    yield f"{path}:1", dict(zip(names, names, strict=True))
    for where, row in objects:
        yield where, {key: str(value) for key, value in row.items() if value is not None}
