"""References and hypotheses from files, row by row, whatever the format.

`lines`  one text a line, blank lines are empty texts; the id is the line number
`kaldi`  "id words"
`tsv`    "id<TAB>text", further columns are ignored
`jsonl`  {"id": ..., "text": ...}: a manifest, or what `asr evaluate` writes; a file of references may say "reference"
         instead of "text", so that one file of hypotheses serves as both
`trn`    "words (id)"; lines starting with ";;" are comments
`ctm`    "file channel start duration word [confidence]": the words of a recording in order of time
`stm`    "file channel speaker start end [<label>] words": the segments of a recording in order of time
In ctm and stm the id is the file, with "-channel" after it unless the channel is 1 or A; lines starting with ";;" are
comments. Files are UTF-8. Outside `lines`, blank lines are skipped. The speaker is kept where jsonl has a
key "speaker" or all segments of a recording in stm have the same one.

Which format a file has, the first rule that fits: 1. the suffix .jsonl, .trn, .ctm, .stm or .tsv; 2. every line starts
with "{": jsonl; 3. every line ends with "(id)": trn; 4. every line has a tab: tsv; 5. the first words of all lines
differ, and each holds a digit and a letter, "-" or "_": kaldi; 6. the other file of the comparison
has ids by these rules: kaldi; 7. lines. Only lines that are not blank are looked at.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from asr.errors import ScoringError
from asr.registry import did_you_mean
from asr.scoring.pairing import TextRow

_SUFFIXES = {".jsonl": "jsonl", ".trn": "trn", ".ctm": "ctm", ".stm": "stm", ".tsv": "tsv"}
_TRN_LINE = re.compile(r"(.*)\(([^()\s]+)\)\s*")
_ID = re.compile(r"(?=.*\d)(?=.*([^\W\d_]|[-_])).*")  # a digit, and a letter, hyphen or underscore
_SECONDS = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)
_IGNORED_SEGMENT = "ignore_time_segment_in_scoring"
_COMMENT = ";;"


class _Line(NamedTuple):
    path: Path
    number: int  # from 1
    text: str

    @property
    def where(self) -> str:
        """For errors."""
        return f"{self.path}:{self.number}"


@dataclass(frozen=True)
class TextFile:
    """A file of texts and the format it is read as; its rows can be gone through again."""

    path: Path
    format: str
    text_keys: tuple[str, ...]  # of jsonl, the first that is there
    content: bytes | None  # of what can be read only once

    def rows(self) -> Iterator[TextRow]:
        """Its utterances in order. ScoringError, with path and line, on what cannot be read."""
        lines = _lines(self.path, self.content)
        return _jsonl_rows(lines, self.text_keys) if self.format == "jsonl" else _READERS[self.format](lines)

    def lines(self) -> Iterator[tuple[str, str]]:
        """Its lines that are not blank, each after the place that an error names: (path:number, text)."""
        for line in _filled(_lines(self.path, self.content)):
            yield line.where, line.text

    def __str__(self) -> str:
        return f"{self.path} read as {self.format}"


def open_texts(reference: Path, *hypotheses: Path, format_name: str | None = None) -> list[TextFile]:
    """The reference and the hypotheses to compare with it, each in its detected format or all in the one named.

    ScoringError on a file that cannot be read and on an unknown format.
    """
    if format_name is not None and format_name not in FORMATS:
        raise ScoringError(f"unknown format '{format_name}'{did_you_mean(format_name, FORMATS)}")
    paths = (reference, *hypotheses)
    contents = [_read_once(path) for path in paths]
    detected = [
        format_name or _detect(path, _lines(path, content)) for path, content in zip(paths, contents, strict=True)
    ]
    undecided = "kaldi" if any(detected) else "lines"
    return [
        TextFile(path, name or undecided, ("text",) if place else ("reference", "text"), content)
        for place, (path, name, content) in enumerate(zip(paths, detected, contents, strict=True))
    ]


def channel_id(file: str, channel: str) -> str:
    """The utterance id of a channel of a recording in ctm and stm."""
    return file if channel in ("1", "A") else f"{file}-{channel}"


def _read_once(path: Path) -> bytes | None:
    """The content of a pipe or the like; None of a file, which can be opened again."""
    try:
        with path.open("rb") as file:
            return None if path.is_file() else file.read()
    except OSError as error:
        raise ScoringError(f"{path}: cannot read the texts ({error.strerror})") from error


def _lines(path: Path, content: bytes | None) -> Iterator[_Line]:
    with path.open("rb") if content is None else io.BytesIO(content) as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ScoringError(f"{path}:{number}: not UTF-8 text; convert the file") from error
            yield _Line(path, number, text.removesuffix("\n").removesuffix("\r"))


class _Signs:
    """What the lines that were seen have in common."""

    def __init__(self) -> None:
        self.formats = dict.fromkeys(("jsonl", "trn", "tsv", "kaldi"), True)  # in the order they are tried
        self.num_lines = 0
        self._ids: set[str] = set()

    def look_at(self, text: str) -> None:
        """Rule out the formats that a line which is not blank does not fit."""
        self.num_lines += 1
        formats = self.formats
        formats["jsonl"] = formats["jsonl"] and text.startswith("{")
        formats["trn"] = formats["trn"] and _TRN_LINE.fullmatch(text) is not None
        formats["tsv"] = formats["tsv"] and "\t" in text
        if formats["kaldi"]:
            name = text.split(maxsplit=1)[0]
            formats["kaldi"] = name not in self._ids and _ID.fullmatch(name) is not None
            self._ids.add(name)

    @property
    def format(self) -> str | None:
        """The first format that fits."""
        return next((name for name, fits in self.formats.items() if fits), None) if self.num_lines else None


def _detect(path: Path, lines: Iterable[_Line]) -> str | None:
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    signs = _Signs()
    for line in lines:
        if line.text.strip():
            signs.look_at(line.text)
            if signs.format is None:
                return None
    return signs.format


def _filled(lines: Iterable[_Line], *, comments: bool = False) -> Iterator[_Line]:
    return (line for line in lines if line.text.strip() and not (comments and line.text.startswith(_COMMENT)))


def _line_rows(lines: Iterable[_Line]) -> Iterator[TextRow]:
    return (TextRow(str(line.number), line.text) for line in lines)


def _kaldi_rows(lines: Iterable[_Line]) -> Iterator[TextRow]:
    for line in _filled(lines):
        name, *words = line.text.split(maxsplit=1)
        yield TextRow(name, "".join(words))


def _tsv_rows(lines: Iterable[_Line]) -> Iterator[TextRow]:
    for line in _filled(lines):
        columns = line.text.split("\t", 2)
        if len(columns) < 2 or not columns[0].strip():
            raise ScoringError(f"{line.where}: expected an id, a tab and a text")
        yield TextRow(columns[0].strip(), columns[1])


def _trn_rows(lines: Iterable[_Line]) -> Iterator[TextRow]:
    for line in _filled(lines, comments=True):
        match = _TRN_LINE.fullmatch(line.text)
        if not match:
            raise ScoringError(f"{line.where}: expected 'words (id)'")
        yield TextRow(match[2], match[1])


def _jsonl_rows(lines: Iterable[_Line], text_keys: tuple[str, ...]) -> Iterator[TextRow]:
    for line in _filled(lines):
        try:
            row = json.loads(line.text)
        except (ValueError, RecursionError) as error:
            raise ScoringError(f"{line.where}: not a line of JSON ({error})") from error
        if not isinstance(row, dict):
            raise ScoringError(f'{line.where}: expected an object with "id" and "text"')
        text_key = next((key for key in text_keys if key in row), "text")
        for key in ("id", text_key):
            if not isinstance(row.get(key), str):
                raise ScoringError(f'{line.where}: "{key}" is missing or not a string')
        speaker = row.get("speaker")
        if speaker is not None and not isinstance(speaker, str):
            raise ScoringError(f'{line.where}: "speaker" is not a string')
        yield TextRow(row["id"], row[text_key], speaker)


def _ctm_rows(lines: Iterable[_Line]) -> Iterator[TextRow]:
    rows = _timed_fields(lines, "file channel start duration word", start_field=2)
    return _join_in_time(rows, lambda fields: fields[4:5], lambda _: None)


def _stm_rows(lines: Iterable[_Line]) -> Iterator[TextRow]:
    rows = _timed_fields(lines, "file channel speaker start end words", start_field=3)
    return _join_in_time(rows, _stm_words, lambda fields: fields[2])


def _stm_words(fields: list[str]) -> list[str]:
    has_label = len(fields) > 5 and fields[5].startswith("<") and fields[5].endswith(">")
    return fields[6:] if has_label else fields[5:]


def _timed_fields(lines: Iterable[_Line], expected: str, start_field: int) -> Iterator[tuple[float, list[str]]]:
    for line in _filled(lines, comments=True):
        fields = line.text.split()
        if len(fields) < 5 or not all(map(_SECONDS.fullmatch, fields[start_field : start_field + 2])):
            raise ScoringError(f"{line.where}: expected '{expected}', times in seconds")
        if _IGNORED_SEGMENT in map(str.lower, fields):
            raise ScoringError(f"{line.where}: {_IGNORED_SEGMENT} is not supported; remove the segment from both files")
        yield float(fields[start_field]), fields


def _join_in_time(
    rows: Iterable[tuple[float, list[str]]],
    words_of: Callable[[list[str]], list[str]],
    speaker_of: Callable[[list[str]], str | None],
) -> Iterator[TextRow]:
    words: dict[str, list[str]] = {}
    speakers: dict[str, set[str | None]] = {}
    for _, fields in sorted(rows, key=lambda row: row[0]):
        name = channel_id(fields[0], fields[1])
        words.setdefault(name, []).extend(words_of(fields))
        speakers.setdefault(name, set()).add(speaker_of(fields))
    for name, parts in words.items():
        yield TextRow(name, " ".join(parts), speakers[name].pop() if len(speakers[name]) == 1 else None)


_READERS: dict[str, Callable[[Iterable[_Line]], Iterator[TextRow]]] = {
    "lines": _line_rows,
    "kaldi": _kaldi_rows,
    "tsv": _tsv_rows,
    "trn": _trn_rows,
    "ctm": _ctm_rows,
    "stm": _stm_rows,
}
FORMATS = (*_READERS, "jsonl")
