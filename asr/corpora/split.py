"""A manifest divided into several, on disk and in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from asr.data.manifest import read_manifest, write_manifest
from asr.data.split import TRAIN, split_rows
from asr.errors import ManifestError
from asr.system.display import counted
from asr.text.normalize import normalize


def split_manifest(
    manifest: Path, folder: Path, shares: Mapping[str, float], *, by: str, seed: int, say: Callable[[str], None]
) -> None:
    """Write `<part>.jsonl` into a folder for each part of a manifest, as `asr.data.split.split_rows` divides it.

    Says what is in each, and how many texts of a part that was held out are in training, too.
    """
    utterances = read_manifest(manifest)
    try:
        found = split_rows(utterances, shares, by=by, seed=seed)
    except ManifestError as error:
        raise ManifestError(f"{manifest}: {error}") from error
    parts = {name: [utterances[int(row)] for row in found.rows[name]] for name in (TRAIN, *shares)}
    total = sum(utterance.duration for utterance in utterances)
    known = {normalize(utterance.text, "basic") for utterance in parts[TRAIN]}
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in parts.items():
        path = folder / f"{name}.jsonl"
        write_manifest(path, rows)
        seconds = sum(utterance.duration for utterance in rows)
        speakers = len({utterance.speaker for utterance in rows} - {None})
        voices = f", {counted(speakers, 'speaker')}" if speakers else ""
        seen = sum(normalize(utterance.text, "basic") in known for utterance in rows) if name != TRAIN else 0
        texts = f"; {seen} of its texts {'is' if seen == 1 else 'are'} in {TRAIN}, too" if seen else ""
        share = 100 * seconds / total if total else 0.0
        number = counted(len(rows), "utterance")
        say(f"{path}: {number}, {seconds / 3600:.2f} h ({share:.1f} %){voices}{texts}")
    say(f"divided by {found.by}, seed {seed}")
