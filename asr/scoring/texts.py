"""References and hypotheses from files, row by row, whatever the format.

`lines`  one text a line, blank lines are empty texts; the id is the line number
`kaldi`  "id words"
`tsv`    "id<TAB>text", further columns are ignored; no line has more of them than the first
`jsonl`  {"id": ..., "text": ...}: a manifest, or what `asr evaluate` writes; a file of references may say "reference"
         instead of "text", so that one file of hypotheses serves as both
`trn`    "words (id)"; lines starting with ";;" are comments
`ctm`    "file channel start duration word [confidence]": the words of a recording in order of time
`stm`    "file channel speaker start end [<label>] words": the segments of a recording in order of time. What references
         mark as "ignore_time_segment_in_scoring" is left out, and words of ctm and stm whose middle lies in there
In ctm and stm the id is the file, with "-channel" after it unless the channel is 1 or A; lines starting with ";;" are
comments. Files are UTF-8, or UTF-16 with a byte order mark. Outside `lines`, blank lines are skipped. The speaker is
kept where jsonl has a key "speaker" or all segments of a recording in stm have the same one.

Which format a file has, the first rule that fits: 1. the suffix .jsonl, .trn, .ctm, .stm or .tsv; 2. every line starts
with "{": jsonl; 3. every line ends with "(id)": trn; 4. every line has a tab: tsv; 5. the first words of all lines
differ, and each holds a digit and a letter, "-" or "_": kaldi; 6. the other file of the comparison
has ids by these rules: kaldi; 7. the first words of all lines differ and are numbers of three digits or more, or with a
zero in front, and those of one file are among those of the other: kaldi; 8. lines. Only lines that are not blank are
looked at.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from asr.errors import ScoringError, TextError
from asr.registry import did_you_mean
from asr.scoring.pairing import TextRow
from asr.system.text_files import decode_text, unique_keys

_SUFFIXES = {".jsonl": "jsonl", ".trn": "trn", ".ctm": "ctm", ".stm": "stm", ".tsv": "tsv"}
_TRN_LINE = re.compile(r"(.*)\(([^()\s]+)\)\s*")
_ID = re.compile(r"(?=.*\d)(?=.*([^\W\d_]|[-_])).*")  # a digit, and a letter, hyphen or underscore
_NUMBER_ID = re.compile(r"\d{3,}|0\d+", re.ASCII)
_CONFIDENCE = re.compile(r"NA|[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_SECONDS = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)
_IGNORED_SEGMENT = "ignore_time_segment_in_scoring"
_COMMENT = ";;"

Spans = Mapping[str, Sequence[tuple[float, float]]]  # utterance id -> start and end of stretches, seconds


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

    def rows(self, ignored: Spans | None = None) -> Iterator[TextRow]:
        """Its utterances in order, without what lies in ignored stretches.

        ScoringError, with path and line, on what cannot be read, and if there are no times to tell what lies where.
        """
        lines = _lines(self.path, self.content)
        if self.format == "jsonl" and not ignored:
            return _jsonl_rows(lines, self.text_keys)
        if self.format in _TIMED_READERS:
            return _TIMED_READERS[self.format](lines, ignored or {})
        if ignored:
            raise ScoringError(
                f"{self}: its words have no times, but the references have segments {_IGNORED_SEGMENT}; give words "
                "as ctm or stm"
            )
        return _READERS[self.format](lines)

    def ignored_spans(self) -> Spans:
        """The segments of stm that say that they are not to be scored."""
        spans: dict[str, list[tuple[float, float]]] = {}
        if self.format == "stm":
            for word in _stm_segments(_lines(self.path, self.content)):
                if word.is_ignored:
                    spans.setdefault(word.name, []).append((word.start, word.end))
        return spans

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
    if format_name is not None:
        formats = [format_name] * len(paths)
    else:
        signs = [_look(path, _lines(path, content)) for path, content in zip(paths, contents, strict=True)]
        undecided = "kaldi" if any(one.format for one in signs) or _have_numbers(signs) else "lines"
        formats = [one.format or undecided for one in signs]
    return [
        TextFile(path, name, ("text",) if place else ("reference", "text"), content)
        for place, (path, name, content) in enumerate(zip(paths, formats, contents, strict=True))
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
            if number == 1 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                yield from _utf16_lines(path, line + file.read())
                return
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ScoringError(f"{path}:{number}: not UTF-8 text; convert the file") from error
            yield _Line(path, number, text.removesuffix("\n").removesuffix("\r"))


def _utf16_lines(path: Path, content: bytes) -> Iterator[_Line]:
    try:
        lines = decode_text(content).split("\n")
    except UnicodeDecodeError as error:
        raise ScoringError(f"{path}: not UTF-16 text, as its first bytes say; convert the file") from error
    for number, text in enumerate(lines if lines[-1] else lines[:-1], 1):
        yield _Line(path, number, text.removesuffix("\r"))


class _Signs:
    """What the lines that were seen have in common."""

    def __init__(self, format: str | None = None) -> None:
        self.formats = dict.fromkeys(("jsonl", "trn", "tsv", "kaldi"), True)  # in the order they are tried
        self.has_number_ids = True  # the first words of all lines are numbers as ids have them, and differ
        self.has_words = False  # after the first one
        self.num_lines = 0
        self.ids: set[str] = set()  # first words, as long as they may be ids
        self._known = format  # by the name of the file

    def look_at(self, text: str) -> None:
        """Rule out the formats that a line which is not blank does not fit."""
        self.num_lines += 1
        formats = self.formats
        formats["jsonl"] = formats["jsonl"] and text.startswith("{")
        formats["trn"] = formats["trn"] and _TRN_LINE.fullmatch(text) is not None
        formats["tsv"] = formats["tsv"] and "\t" in text
        if formats["kaldi"] or self.has_number_ids:
            name, *words = text.split(maxsplit=1)
            formats["kaldi"] = formats["kaldi"] and name not in self.ids and _ID.fullmatch(name) is not None
            self.has_number_ids = (
                self.has_number_ids and name not in self.ids and _NUMBER_ID.fullmatch(name) is not None
            )
            self.has_words = self.has_words or bool(words)
            self.ids.add(name)

    @property
    def format(self) -> str | None:
        """That of the file's name, or else the first one that fits."""
        if self._known or not self.num_lines:
            return self._known
        return next((name for name, fits in self.formats.items() if fits), None)


def _look(path: Path, lines: Iterable[_Line]) -> _Signs:
    signs = _Signs(_SUFFIXES.get(path.suffix.lower()))
    if signs.format is None:
        for line in lines:
            if line.text.strip():
                signs.look_at(line.text)
                if signs.format is None and not signs.has_number_ids:
                    break
    return signs


def _have_numbers(signs: Sequence[_Signs]) -> bool:
    """Whether files have numbers as ids: the same ones, but for some that are missing."""
    first = signs[0].ids
    are_numbers = all(one.num_lines and one.has_number_ids for one in signs) and signs[0].has_words
    return are_numbers and all(one.ids <= first or first <= one.ids for one in signs)


def _filled(lines: Iterable[_Line], *, comments: bool = False) -> Iterator[_Line]:
    return (line for line in lines if line.text.strip() and not (comments and line.text.startswith(_COMMENT)))


def _line_rows(lines: Iterable[_Line]) -> Iterator[TextRow]:
    return (TextRow(str(line.number), line.text) for line in lines)


def _kaldi_rows(lines: Iterable[_Line]) -> Iterator[TextRow]:
    for line in _filled(lines):
        name, *words = line.text.split(maxsplit=1)
        yield TextRow(name, "".join(words))


def _tsv_rows(lines: Iterable[_Line]) -> Iterator[TextRow]:
    most = 0  # columns
    for line in _filled(lines):
        columns = line.text.split("\t")
        most = most or len(columns)
        if len(columns) < 2 or not columns[0].strip():
            raise ScoringError(f"{line.where}: expected an id, a tab and a text")
        if len(columns) > most:
            raise ScoringError(
                f"{line.where}: {len(columns)} columns, the first line has {most}; is a tab in the text?"
            )
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
            if isinstance(row, dict) and any(line.text.count(f'"{key}"') > 1 for key in ("id", *text_keys)):
                json.loads(line.text, object_pairs_hook=unique_keys)  # slower, and hardly ever needed
        except TextError as error:
            raise ScoringError(f"{line.where}: {error}") from error
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


@dataclass(frozen=True)
class _Timed:
    """A word of ctm, or a segment of stm."""

    name: str  # of the recording and its channel
    start: float  # seconds
    end: float
    words: Sequence[str]
    speaker: str | None = None

    @property
    def is_ignored(self) -> bool:
        """Whether it says so itself."""
        return any(word.lower() == _IGNORED_SEGMENT for word in self.words)

    def lies_in(self, spans: Sequence[tuple[float, float]]) -> bool:
        """Whether its middle does, as sclite has it."""
        middle = (self.start + self.end) / 2
        return any(start <= middle < end for start, end in spans)


def _ctm_rows(lines: Iterable[_Line], ignored: Spans) -> Iterator[TextRow]:
    return _join_in_time(_ctm_words(lines), ignored)


def _ctm_words(lines: Iterable[_Line]) -> Iterator[_Timed]:
    expected = "file channel start duration word [confidence]"
    for line, fields in _timed_fields(lines, expected, start_field=2):
        if len(fields) > 8 or (
            len(fields) > 5 and not _CONFIDENCE.fullmatch(fields[5])
        ):  # a type and a speaker at most
            raise ScoringError(f"{line.where}: expected '{expected}', one word a line")
        start = float(fields[2])
        yield _Timed(channel_id(*fields[:2]), start, start + float(fields[3]), fields[4:5])


def _stm_rows(lines: Iterable[_Line], ignored: Spans) -> Iterator[TextRow]:
    return _join_in_time(_stm_segments(lines), ignored)


def _stm_segments(lines: Iterable[_Line]) -> Iterator[_Timed]:
    for line, fields in _timed_fields(lines, "file channel speaker start end words", start_field=3):
        if float(fields[4]) < float(fields[3]):
            raise ScoringError(f"{line.where}: the segment ends at {fields[4]} s, before it starts at {fields[3]} s")
        has_label = len(fields) > 5 and fields[5].startswith("<") and fields[5].endswith(">")
        words = fields[6:] if has_label else fields[5:]
        yield _Timed(channel_id(*fields[:2]), float(fields[3]), float(fields[4]), words, fields[2])


def _timed_fields(lines: Iterable[_Line], expected: str, start_field: int) -> Iterator[tuple[_Line, list[str]]]:
    for line in _filled(lines, comments=True):
        fields = line.text.split()
        if len(fields) < 5 or not all(map(_SECONDS.fullmatch, fields[start_field : start_field + 2])):
            raise ScoringError(f"{line.where}: expected '{expected}', times in seconds")
        yield line, fields


def _join_in_time(parts: Iterable[_Timed], ignored: Spans) -> Iterator[TextRow]:
    """An utterance for each recording; one of which all is ignored has an empty text."""
    words: dict[str, list[str]] = {}
    speakers: dict[str, set[str | None]] = {}
    for part in sorted(parts, key=lambda part: part.start):
        found = words.setdefault(part.name, [])
        if not part.is_ignored and not part.lies_in(ignored.get(part.name, ())):
            found.extend(part.words)
            speakers.setdefault(part.name, set()).add(part.speaker)
    for name, found in words.items():
        those = speakers.get(name, {None})
        yield TextRow(name, " ".join(found), next(iter(those)) if len(those) == 1 else None)


_READERS: dict[str, Callable[[Iterable[_Line]], Iterator[TextRow]]] = {
    "lines": _line_rows,
    "kaldi": _kaldi_rows,
    "tsv": _tsv_rows,
    "trn": _trn_rows,
}
_TIMED_READERS: dict[str, Callable[[Iterable[_Line], Spans], Iterator[TextRow]]] = {"ctm": _ctm_rows, "stm": _stm_rows}
FORMATS = (*_READERS, *_TIMED_READERS, "jsonl")
