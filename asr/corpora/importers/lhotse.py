"""lhotse manifests as JSON lines: cuts, or supervisions beside their recordings. lhotse itself is not needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeGuard

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
from asr.system.display import counted

Numbered = Iterable[tuple[str, dict[str, Any] | Fault]]
SUPERVISIONS, RECORDINGS = "supervisions", "recordings"


@register
class LhotseImporter:
    """Relative paths start at the working directory, as in lhotse. Every supervision is an utterance, under its id."""

    name = "lhotse"
    summary = "JSON lines of cuts, or of supervisions with their recordings in a file of the same kind"
    takes_columns = False

    def fits(self, source: Path) -> bool:
        """A folder with files of supervisions, or JSON lines of lhotse's own."""
        if source.is_dir():
            return bool(_supervision_files(source))
        row = first_json_row(source)
        return "recording_id" in row or "sources" in row or ("type" in row and str(row["type"]).endswith("Cut"))

    def root(self, source: Path) -> Path:
        """The working directory."""
        return Path.cwd()

    def read(self, source: Path, options: ImportOptions, root: Path) -> Iterator[Row | Fault]:
        """Rows in file order; ManifestError if recordings or supervisions cannot be found."""
        if source.is_dir():
            source = _only_supervisions(source)
        row = first_json_row(source)
        if "sources" in row:
            raise ManifestError(f"{source}: holds recordings alone; name the file of supervisions, or of cuts")
        if "recording_id" not in row:
            return _from_cuts(json_rows(source), root)
        recordings = source.with_name(source.name.replace(SUPERVISIONS, RECORDINGS))
        if recordings == source or not recordings.is_file():
            raise ManifestError(
                f"{source}: its recordings are not beside it; they are looked for under the same name with "
                f"'{RECORDINGS}' instead of '{SUPERVISIONS}'"
            )
        return from_supervisions(json_rows(recordings), json_rows(source), root)


def from_supervisions(recordings: Numbered, supervisions: Numbered, root: Path) -> Iterator[Row | Fault]:
    """Rows of supervisions whose recordings are in another table."""
    known: dict[str, dict[str, Any]] = {}
    for _, row in recordings:
        if isinstance(row, Fault):
            yield row
        else:
            known[str(row.get("id"))] = row
    for where, row in supervisions:
        if isinstance(row, Fault):
            yield row
            continue
        recording = known.get(str(row.get("recording_id")))
        if recording is None:
            yield Fault(where, f"there is no recording '{row.get('recording_id')}'", _id(row))
        else:
            yield _row(where, row, recording, 0.0, root)


def _from_cuts(cuts: Numbered, root: Path) -> Iterator[Row | Fault]:
    for where, cut in cuts:
        if isinstance(cut, Fault):
            yield cut
        elif cut.get("type", "MonoCut") not in ("MonoCut", "MultiCut"):
            yield Fault(where, f"a {cut['type']} has no file of its own; export the audio of the cuts first", _id(cut))
        elif not isinstance(cut.get("recording"), dict):
            yield Fault(where, "the cut has features but no recording", _id(cut))
        elif not cut.get("supervisions"):
            yield Fault(where, "the cut has no supervision, and so no text", _id(cut))
        elif not _are_objects(cut["supervisions"]):
            yield Fault(where, "'supervisions' is not a list of objects", _id(cut))
        else:
            for supervision in cut["supervisions"]:
                yield _row(where, supervision, cut["recording"], cut.get("start", 0.0), root)


def _row(
    where: str, supervision: Mapping[str, Any], recording: Mapping[str, Any], cut_start: float, root: Path
) -> Row | Fault:
    try:
        audio = _audio(recording)
        _check_channels(supervision.get("channel", 0), recording)
        start = _sum(supervision.get("start", 0.0), cut_start)
        return Row(
            where,
            root / audio,
            _id(supervision),
            text=optional_text(supervision, ("text",)) or "",
            start=seconds(start, "start"),
            duration=seconds(supervision.get("duration"), "duration"),
            speaker=optional_text(supervision, ("speaker",)),
            lang=optional_text(supervision, ("language",)),
        )
    except ManifestError as error:
        return Fault(where, str(error), _id(supervision))


def _id(row: Mapping[str, Any]) -> str | None:
    return str(row["id"]) if row.get("id") is not None else None


def _sum(first: object, second: object) -> float:
    """Of two numbers as they are written, so that 0.1 and 0.2 make 0.3."""
    if not second:
        return seconds(first, "start")
    try:
        return float(Decimal(str(first)) + Decimal(str(second)))
    except ArithmeticError:
        raise ManifestError(f"'start' is {first} in a cut that starts at {second}") from None


def _audio(recording: Mapping[str, Any]) -> str:
    """The one file of a recording; ManifestError if it is anything else."""
    sources = recording.get("sources") or []
    if not _are_objects(sources):
        raise ManifestError("'sources' of the recording is not a list of objects")
    if len(sources) != 1:
        raise ManifestError(f"the recording has {counted(len(sources), 'file')}; join its channels first")
    if sources[0].get("type") != "file":
        raise ManifestError(f"the recording is a {sources[0].get('type')}, not a file; save it as one first")
    if recording.get("transforms"):
        raise ManifestError("the recording is to be transformed (speed, volume ...); save the result to a file first")
    if not isinstance(sources[0].get("source"), str):
        raise ManifestError("the recording does not name its file")
    return str(sources[0]["source"])


def _are_objects(value: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _check_channels(channel: object, recording: Mapping[str, Any]) -> None:
    """One channel out of several cannot be expressed in a manifest."""
    present = recording["sources"][0].get("channels", [0])
    wanted = channel if isinstance(channel, list) else [channel]
    if not isinstance(present, list) or set(map(str, wanted)) != set(map(str, present)):
        raise ManifestError(f"channel {channel} of channels {present}; split them into files of their own first")


def _supervision_files(folder: Path) -> list[Path]:
    return sorted(path for end in ("jsonl", "jsonl.gz") for path in folder.glob(f"*{SUPERVISIONS}*.{end}"))


def _only_supervisions(folder: Path) -> Path:
    files = _supervision_files(folder)
    if len(files) == 1:
        return files[0]
    listed = ", ".join(path.name for path in files) or "none"
    raise ManifestError(f"{folder}: expected one file of supervisions; name one of them: {listed}")
