"""What was imported, on disk and in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from asr.corpora.importers import Imported
from asr.corpora.importers.base import first_json_row
from asr.data.manifest import write_manifest
from asr.errors import ManifestError
from asr.system.display import counted
from asr.system.runtime import write_text_atomic

NUM_SHOWN = 10


def rejected_rows_of(manifest: Path) -> Path:
    """Where the rows go that were left out of a manifest."""
    return manifest.with_suffix(".rejected.jsonl")


def is_imported(path: Path) -> bool:
    """Whether a file is what an import writes: a manifest, or its rejected rows."""
    keys = first_json_row(path).keys()
    return {"id", "audio"} <= keys or keys == {"id", "where", "reason"}


def save(manifest: Path, imported: Imported, say: Callable[[str], None]) -> int:
    """Write a manifest, and `<name>.rejected.jsonl` next to it if rows were left out, whose number is returned.

    ManifestError if no row is left.
    """
    rejected = rejected_rows_of(manifest)
    rejected.unlink(missing_ok=True)
    if imported.faults:
        rows = [{"id": fault.id, "where": fault.where, "reason": fault.reason} for fault in imported.faults]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text_atomic(rejected, lines.encode(errors="backslashreplace").decode())  # halves of characters, too
    for fault in imported.faults[:NUM_SHOWN]:
        say(f"left out {fault.where}{f' ({fault.id})' if fault.id else ''}: {fault.reason}")
    if len(imported.faults) > NUM_SHOWN:
        say(f"left out {len(imported.faults) - NUM_SHOWN} more; all are listed in {rejected}")
    if any("there is no such file" in fault.reason for fault in imported.faults):
        say(f"relative audio paths were taken from {imported.root}; --root names another folder")
    if not imported.utterances:
        first = f"; first reason: {imported.faults[0].reason}" if imported.faults else ""
        raise ManifestError(f"{manifest}: not written, there is no utterance to import{first}")
    write_manifest(manifest, imported.utterances)
    if empty := [utterance.id for utterance in imported.utterances if not utterance.text.strip()]:
        more = ", ..." if len(empty) > NUM_SHOWN else ""
        say(f"{counted(len(empty), 'utterance')} without a text: {', '.join(empty[:NUM_SHOWN])}{more}")
    hours = sum(utterance.duration for utterance in imported.utterances) / 3600
    speakers = {utterance.speaker for utterance in imported.utterances} - {None}
    number = counted(len(imported.utterances), "utterance")
    known = len(speakers) or "not known"
    say(f"{manifest}: {number}, {hours:.2f} h, speakers: {known} (read as {imported.format})")
    return len(imported.faults)
