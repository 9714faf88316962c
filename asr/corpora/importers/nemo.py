"""NeMo manifests: JSON lines with audio_filepath, duration, text and offset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from asr.corpora.importers.base import (
    Fault,
    ImportOptions,
    Row,
    find_audio,
    first_json_row,
    json_rows,
    optional_text,
    read_text,
    register,
    seconds,
)
from asr.errors import ManifestError

AUDIO_KEYS = ("audio_filename", "audio_filepath", "audio_file")  # in NeMo's order, as those of texts
TEXT_FILE = "text_filepath"


@register
class NemoImporter:
    """Relative paths start at the manifest's folder, as in NeMo, or else at the working directory.

    Ids are taken from `id`, where there is one.
    """

    name = "nemo"
    summary = "JSON lines with audio_filepath, text, duration and offset"
    takes_columns = False

    def fits(self, source: Path) -> bool:
        """JSON lines, gzipped or not, whose first one names an audio file as NeMo does."""
        return not first_json_row(source).keys().isdisjoint(AUDIO_KEYS)

    def root(self, source: Path) -> Path:
        """The folder of the manifest."""
        return source.parent

    def read(self, source: Path, options: ImportOptions, root: Path) -> Iterator[Row | Fault]:
        """One row a line; keys that mean nothing here are passed over, as NeMo does."""
        for where, row in json_rows(source):
            if isinstance(row, Fault):
                yield row
                continue
            try:
                id = optional_text(row, ("id",))
                audio = optional_text(row, AUDIO_KEYS)
                if not audio:
                    raise ManifestError("'audio_filepath' is missing")
                yield Row(
                    where,
                    find_audio(audio, [root] if options.root else [root, Path.cwd()]),
                    id,
                    text=_text(row, root),
                    start=seconds(row["offset"], "offset") if row.get("offset") is not None else 0.0,
                    duration=seconds(row["duration"], "duration") if row.get("duration") is not None else None,
                    speaker=optional_text(row, ("speaker",)),
                    lang=optional_text(row, ("lang",)),
                )
            except ManifestError as error:
                yield Fault(where, str(error), str(row["id"]) if row.get("id") is not None else None)


def _text(row: Mapping[str, Any], root: Path) -> str:
    """Of the key that NeMo looks at first; a file of text lies where audio does, or below the working directory."""
    if row.get("text") is None and (name := optional_text(row, (TEXT_FILE,))):
        return " ".join(read_text(find_audio(name, [root, Path.cwd()])).split())
    return optional_text(row, ("text", "normalized_text")) or ""
