"""References and hypotheses from files: {utterance id: text} whatever the format.

`lines`  one text a line, blank lines are empty texts; the id is the line number
`kaldi`  "id words"
`tsv`    "id<TAB>text", further columns are ignored
`jsonl`  {"id": ..., "text": ...}: a manifest, or what `asr evaluate` writes; a file of references may say "reference"
         instead of "text", so that one file of hypotheses serves as both
`trn`    "words (id)"
`ctm`    "file channel start duration word [confidence]": the words of a recording in order of time
`stm`    "file channel speaker start end [<label>] words": the segments of a recording in order of time
In ctm and stm the id is the file, with "-channel" after it unless the channel is 1 or A; lines starting with ";;" are
comments. Files are UTF-8. Outside `lines`, blank lines are skipped.

Which format a file has, the first rule that fits: 1. the suffix .jsonl, .trn, .ctm, .stm or .tsv; 2. every line starts
with "{": jsonl; 3. every line ends with "(id)": trn; 4. every line has a tab: tsv; 5. the first words of all lines
differ, and each holds a digit and a letter, "-" or "_": kaldi; 6. the other file of the comparison
has ids by these rules: kaldi; 7. lines. Only lines that are not blank are looked at.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asr.errors import ScoringError
from asr.registry import did_you_mean
from asr.scoring.wer import name_ids

_SUFFIXES = {".jsonl": "jsonl", ".trn": "trn", ".ctm": "ctm", ".stm": "stm", ".tsv": "tsv"}
_TRN_LINE = re.compile(r"(.*)\(([^()\s]+)\)\s*")
_ID = re.compile(r"(?=.*\d)(?=.*([^\W\d_]|[-_])).*")  # a digit, and a letter, hyphen or underscore
_SECONDS = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)
_IGNORED_SEGMENT = "ignore_time_segment_in_scoring"


@dataclass(frozen=True)
class TextPair:
    """The texts of two files by utterance id, and the formats they were read as."""

    references: dict[str, str]
    hypotheses: dict[str, str]
    reference_format: str
    hypothesis_format: str


@dataclass(frozen=True)
class _Line:
    where: str  # path:line, for errors
    text: str


_Row = tuple[str, str]  # utterance id, text


def read_pair(reference: Path, hypothesis: Path, format_name: str | None = None) -> TextPair:
    """Read both sides, each in its detected format or both in the one named.

    ScoringError, with path and line, on a file that cannot be read as such or that repeats ids; on an unknown format.
    """
    if format_name is not None and format_name not in FORMATS:
        raise ScoringError(f"unknown format '{format_name}'{did_you_mean(format_name, FORMATS)}")
    reference_lines, hypothesis_lines = _read_lines(reference), _read_lines(hypothesis)
    detected = [
        format_name or _detect(reference, reference_lines),
        format_name or _detect(hypothesis, hypothesis_lines),
    ]
    undecided = "kaldi" if any(detected) else "lines"
    reference_format, hypothesis_format = (name or undecided for name in detected)
    return TextPair(
        _parse(reference, reference_lines, reference_format, ("reference", "text")),
        _parse(hypothesis, hypothesis_lines, hypothesis_format, ("text",)),
        reference_format,
        hypothesis_format,
    )


def _read_lines(path: Path) -> list[_Line]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ScoringError(f"{path}: cannot read the texts ({error.strerror})") from error
    try:
        lines = content.decode("utf-8-sig").removesuffix("\n").split("\n") if content else []
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise ScoringError(f"{path}:{number}: not UTF-8 text; convert the file") from error
    return [_Line(f"{path}:{number}", line.removesuffix("\r")) for number, line in enumerate(lines, 1)]


def _detect(path: Path, lines: list[_Line]) -> str | None:
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    texts = [line.text for line in lines if line.text.strip()]
    if not texts:
        return None
    if all(text.startswith("{") for text in texts):
        return "jsonl"
    if all(_TRN_LINE.fullmatch(text) for text in texts):
        return "trn"
    if all("\t" in text for text in texts):
        return "tsv"
    first_words = {text.split(maxsplit=1)[0] for text in texts}
    if len(first_words) == len(texts) and all(map(_ID.fullmatch, first_words)):
        return "kaldi"
    return None


def _parse(path: Path, lines: list[_Line], format_name: str, text_keys: tuple[str, ...]) -> dict[str, str]:
    rows = list(_jsonl_rows(lines, text_keys) if format_name == "jsonl" else _READERS[format_name](lines))
    texts = dict(rows)
    if len(texts) < len(rows):
        repeated = [name for name, count in Counter(name for name, _ in rows).items() if count > 1]
        raise ScoringError(
            f"{path}: {len(repeated)} ids occur more than once when read as {format_name}: {name_ids(repeated)}"
        )
    return texts


def _filled(lines: Iterable[_Line]) -> Iterator[_Line]:
    return (line for line in lines if line.text.strip())


def _line_rows(lines: list[_Line]) -> Iterator[_Row]:
    return ((str(number), line.text) for number, line in enumerate(lines, 1))


def _kaldi_rows(lines: list[_Line]) -> Iterator[_Row]:
    for line in _filled(lines):
        name, *words = line.text.split(maxsplit=1)
        yield name, "".join(words)


def _tsv_rows(lines: list[_Line]) -> Iterator[_Row]:
    for line in _filled(lines):
        columns = line.text.split("\t")
        if len(columns) < 2 or not columns[0].strip():
            raise ScoringError(f"{line.where}: expected an id, a tab and a text")
        yield columns[0].strip(), columns[1]


def _trn_rows(lines: list[_Line]) -> Iterator[_Row]:
    for line in _filled(lines):
        match = _TRN_LINE.fullmatch(line.text)
        if not match:
            raise ScoringError(f"{line.where}: expected 'words (id)'")
        yield match[2], match[1]


def _jsonl_rows(lines: list[_Line], text_keys: tuple[str, ...]) -> Iterator[_Row]:
    for line in _filled(lines):
        try:
            row = json.loads(line.text)
        except ValueError as error:
            raise ScoringError(f"{line.where}: not a line of JSON ({error})") from error
        if not isinstance(row, dict):
            raise ScoringError(f'{line.where}: expected an object with "id" and "text"')
        text_key = next((key for key in text_keys if key in row), "text")
        for key in ("id", text_key):
            if not isinstance(row.get(key), str):
                raise ScoringError(f'{line.where}: "{key}" is missing or not a string')
        yield row["id"], row[text_key]


def _ctm_rows(lines: list[_Line]) -> Iterator[_Row]:
    rows = _timed_fields(lines, "file channel start duration word", start_field=2)
    return _join_in_time(rows, lambda fields: fields[4:5])


def _stm_rows(lines: list[_Line]) -> Iterator[_Row]:
    rows = _timed_fields(lines, "file channel speaker start end words", start_field=3)
    return _join_in_time(rows, _stm_words)


def _stm_words(fields: list[str]) -> list[str]:
    has_label = len(fields) > 5 and fields[5].startswith("<") and fields[5].endswith(">")
    return fields[6:] if has_label else fields[5:]


def _timed_fields(lines: list[_Line], expected: str, start_field: int) -> Iterator[tuple[float, list[str]]]:
    for line in _filled(lines):
        if line.text.startswith(";;"):
            continue
        fields = line.text.split()
        if len(fields) < 5 or not all(map(_SECONDS.fullmatch, fields[start_field : start_field + 2])):
            raise ScoringError(f"{line.where}: expected '{expected}', times in seconds")
        if _IGNORED_SEGMENT in map(str.lower, fields):
            raise ScoringError(f"{line.where}: {_IGNORED_SEGMENT} is not supported; remove the segment from both files")
        yield float(fields[start_field]), fields


def _join_in_time(
    rows: Iterable[tuple[float, list[str]]], words_of: Callable[[list[str]], list[str]]
) -> Iterator[_Row]:
    words: dict[str, list[str]] = {}
    for _, fields in sorted(rows, key=lambda row: row[0]):
        name = fields[0] if fields[1] in ("1", "A") else f"{fields[0]}-{fields[1]}"
        words.setdefault(name, []).extend(words_of(fields))
    return ((name, " ".join(parts)) for name, parts in words.items())


_READERS: dict[str, Callable[[list[_Line]], Iterator[_Row]]] = {
    "lines": _line_rows,
    "kaldi": _kaldi_rows,
    "tsv": _tsv_rows,
    "trn": _trn_rows,
    "ctm": _ctm_rows,
    "stm": _stm_rows,
}
FORMATS = (*_READERS, "jsonl")
