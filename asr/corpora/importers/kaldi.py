"""Kaldi data folders: wav.scp and text, with segments, utt2spk and utt2lang where they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation, localcontext
from pathlib import Path

from asr.corpora.importers.base import NUL, Fault, ImportOptions, Row, find_audio, read_text, register
from asr.errors import ManifestError

DIGITS = 800  # more than any difference of two floats needs
Lines = Mapping[str, tuple[str, str]]  # key -> (file:line, the rest of the line)


@register
class KaldiImporter:
    """Relative paths start at the working directory, as in Kaldi, or else at the folder.

    A speaker that is the utterance itself is no speaker.
    """

    name = "kaldi"
    summary = "a folder with wav.scp and text, and segments, utt2spk and utt2lang where needed"
    takes_columns = False

    def fits(self, source: Path) -> bool:
        """A folder with wav.scp."""
        return (source / "wav.scp").is_file()

    def root(self, source: Path) -> Path:
        """The working directory."""
        return Path.cwd()

    def read(self, source: Path, options: ImportOptions, root: Path) -> Iterator[Row | Fault]:
        """Rows in the order of `segments`, or else of wav.scp; commands and archives are faults, nothing is run."""
        faults: list[Fault] = []
        recordings = _table(source / "wav.scp", faults)
        segments, texts, speakers, langs = (
            _table(source / name, faults) if (source / name).is_file() else None
            for name in ("segments", "text", "utt2spk", "utt2lang")
        )
        yield from faults
        ids = recordings if segments is None else segments
        for id, (where, value) in ids.items():
            if texts is not None and id not in texts:
                yield Fault(where, f"there is no line for it in {source / 'text'}", id)
                continue
            try:
                recording, start, duration = (id, 0.0, None) if segments is None else _segment(value)
                audio = _audio(recording, recordings)
            except ManifestError as error:
                yield Fault(where, str(error), id)
                continue
            speaker = _value(speakers, id)
            if strange := [name for name, value in (("utt2spk", speaker), ("utt2lang", _value(langs, id)))
                           if value is not None and len(value.split()) != 1]:  # fmt: skip
                yield Fault(where, f"the line for it in {source / strange[0]} has more than two words", id)
                continue
            yield Row(
                where,
                find_audio(audio, [root] if options.root else [root, source]),
                id,
                text=_value(texts, id) or "",
                start=start,
                duration=duration,
                speaker=speaker if speaker != id else None,
                lang=_value(langs, id),
            )
        for id, (where, _) in (texts or {}).items():
            if id not in ids:
                yield Fault(
                    where, f"there is no such utterance in {source / ('segments' if segments else 'wav.scp')}", id
                )


def _table(path: Path, faults: list[Fault]) -> Lines:
    """`key value` lines; the value keeps its inner spaces. A key that comes again is added to the faults."""
    lines: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        key, *rest = line.strip().split(maxsplit=1)
        where = f"{path}:{number}"
        if key in lines:
            faults.append(Fault(where, f"the key already stands at {lines[key][0]}", key))
            continue
        if NUL in line:
            faults.append(Fault(where, "the line holds a NUL character; the file is damaged", key))
            continue
        lines[key] = (where, rest[0] if rest else "")
    return lines


def _value(lines: Lines | None, id: str) -> str | None:
    if lines is None or id not in lines:
        return None
    return lines[id][1] or None


def _segment(value: str) -> tuple[str, float, float | None]:
    """Recording, start and duration of `recording start end [channel]`; an end of -1 is that of the recording."""
    parts = value.split()
    if len(parts) not in (3, 4):
        raise ManifestError("expected 'utterance recording start end'")
    if len(parts) == 4 and parts[3] != "0":
        raise ManifestError(f"channel {parts[3]} of a recording; split the channels into files of their own")
    try:
        start, end = Decimal(parts[1]), Decimal(parts[2])
    except InvalidOperation:
        raise ManifestError(f"'{parts[1]}' or '{parts[2]}' is not a number of seconds") from None
    if not (start.is_finite() and end.is_finite() and start >= 0 and (end > start or end == -1)):
        raise ManifestError(f"the segment goes from {parts[1]} to {parts[2]} s")
    with localcontext(prec=DIGITS):
        duration = None if end == -1 else float(end - start)
    return parts[0], float(start), duration


def _audio(recording: str, recordings: Lines) -> str:
    """The file of a recording; ManifestError for everything that Kaldi could read and that is no file."""
    if recording not in recordings:
        raise ManifestError(f"there is no recording '{recording}' in wav.scp")
    where, value = recordings[recording]
    if value.endswith("|") or value.startswith("|"):
        raise ManifestError(f"{where}: is a command, and none is run; put its output into a file and name that instead")
    if re.search(r":\d+$", value):
        raise ManifestError(f"{where}: lies inside an archive; extract it to files (wav-copy) first")
    if value in ("", "-"):
        raise ManifestError(f"{where}: names no file")
    return value
