"""NeMo manifests: JSON lines with audio_filepath, duration, text and offset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from asr.corpora.importers.base import (
    Fault,
    ImportOptions,
    Row,
    first_json_row,
    json_rows,
    optional_text,
    register,
    seconds,
)
from asr.errors import ManifestError


@register
class NemoImporter:
    """Relative paths start at the manifest's folder, as in NeMo. Ids are taken from `id`, where there is one."""

    name = "nemo"
    takes_columns = False

    def fits(self, source: Path) -> bool:
        """JSON lines, gzipped or not, whose first one has an audio_filepath."""
        return "audio_filepath" in first_json_row(source)

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
                audio = optional_text(row, ("audio_filepath", "audio_file"))
                if not audio:
                    raise ManifestError("'audio_filepath' is missing")
                yield Row(
                    where,
                    root / audio,
                    id,
                    text=optional_text(row, ("text",)) or "",
                    start=seconds(row["offset"], "offset") if row.get("offset") is not None else 0.0,
                    duration=seconds(row["duration"], "duration") if row.get("duration") is not None else None,
                    speaker=optional_text(row, ("speaker",)),
                    lang=optional_text(row, ("lang",)),
                )
            except ManifestError as error:
                yield Fault(where, str(error), row.get("id"))
