"""ARPA files, plain or gzipped: the exchange format of back-off n-gram models (log10, one n-gram a line).

    \\data\\
    ngram 1=3
    ngram 2=1
    <blank line>
    \\1-grams:
    -0.5	<s>	-0.3
    ...
    \\2-grams:
    -0.2	<s> hello
    \\end\\

Text before `\\data\\` is skipped. Highest orders without n-grams, `ngram 3=0` as SRILM writes it, count for nothing. A
line holds a log-probability, the words and a back-off weight, which is 0 where it is missing and at the highest order;
spaces, tabs and blank lines are all the same. `<UNK>` is read as `<unk>`. A model without `<unk>` gets one with log10
probability -100; `<s>` and `</s>` are added likewise, at -99 and as <unk>. An n-gram whose beginning is not in the file
keeps its place: the beginning is added, scored as it was without.
"""

from __future__ import annotations

import gzip
import math
import re
import warnings
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from asr.errors import LmError
from asr.lm.ngram.model import BOS_WORD, EOS_WORD, UNK_WORD, NgramModel
from asr.lm.ngram.trie import NgramTrie, distinct, edge_keys, find
from asr.system.display import counted
from asr.system.runtime import atomic_path

LN10 = math.log(10.0)
ZERO = -99.0  # log10 of a probability of zero, by custom
UNKNOWN = -100.0  # log10 probability of <unk> where a file has none
LARGEST = 1e30  # its natural logarithm is still a float32
BLOCK_BYTES = 1 << 24
LINES_AT_ONCE = 1 << 16
COMPRESSION = 4  # of gzip; 6 takes twice the time and saves 4 %
_COUNT = re.compile(rb"ngram\s+(\d+)\s*=\s*(\d+)")
_SECTION = re.compile(rb"\\(\d+)-grams:")
_IS_SPACE = np.isin(np.arange(256), list(b" \t\n\r\v\f"))
_NEWLINE = ord("\n")


def open_binary(path: Path) -> BinaryIO:
    """Open a file to read bytes, through gzip if its name ends in .gz. OSError as `open`."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else open(path, "rb")


def read_arpa(path: Path | str) -> NgramModel:
    """Read a model; LmError as `path:line: ...` for a file that is no ARPA file or that contradicts itself."""
    path = Path(path)
    try:
        with open_binary(path) as file:
            return _Reader(path).read(file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LmError(f"{path}: the gzip file is damaged or cut short ({error}); copy it again") from error
    except OSError as error:
        raise LmError(f"{path}: cannot read the language model ({error.strerror or error})") from error


def write_arpa(path: Path | str, model: NgramModel) -> None:
    """Write a model, gzipped if the name ends in .gz; equal models make equal files, and a file appears whole."""
    path = Path(path)
    with atomic_path(path) as temporary, open(temporary, "wb") as plain:
        if path.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", compresslevel=COMPRESSION, fileobj=plain, mtime=0) as packed:
                _write(cast(BinaryIO, packed), model)
        else:
            _write(plain, model)


def _write(file: BinaryIO, model: NgramModel) -> None:
    levels = list(_levels(model))
    counts = [f"ngram {order}={len(level.arcs)}\n" for order, level in enumerate(levels, 1)]
    file.write(("\\data\\\n" + "".join(counts)).encode())
    words = np.array(model.words, dtype=object)
    log_probs, backoffs = (_log10(values) for values in (model.log_probs, model.backoffs))
    for order, level in enumerate(levels, 1):
        file.write(f"\n\\{order}-grams:\n".encode())
        for begin in range(0, len(level.arcs), LINES_AT_ONCE):
            some = slice(begin, begin + LINES_AT_ONCE)
            arcs = slice(level.arcs[some].start, level.arcs[some].stop)
            histories = words[level.histories[level.history_of[some]]]
            ngrams = map(" ".join, np.column_stack([histories, words[model.labels[arcs]]]))
            states = level.states[some]
            weighted = zip(states.tolist(), backoffs[states].tolist(), strict=True)
            weights = (f"\t{backoff:.7g}" if state else "" for state, backoff in weighted)
            rows = zip(log_probs[arcs].tolist(), ngrams, weights, strict=True)
            file.write("".join(f"{log_prob:.7g}\t{ngram}{weight}\n" for log_prob, ngram, weight in rows).encode())
    file.write(b"\n\\end\\\n")


@dataclass(frozen=True)
class _Level:
    """All n-grams of one order."""

    arcs: range
    histories: np.ndarray  # int32 (num_histories, order - 1), word ids
    history_of: np.ndarray  # int64 (num_arcs,), a row of `histories`
    states: np.ndarray  # int32 (num_arcs,), the state that the n-gram is, 0 if it is none


def _levels(model: NgramModel) -> Iterator[_Level]:
    """The n-grams of a model, shortest first. States of a length come on end, in the order of the n-grams they are."""
    begin, end = 0, 1
    histories = np.zeros((1, 0), dtype=np.int32)
    for _ in range(model.order):
        arcs = range(int(model.begins[begin]), int(model.begins[end]))
        history_of = np.repeat(np.arange(end - begin), np.diff(model.begins[begin : end + 1]))
        targets, labels = model.targets[arcs.start : arcs.stop], model.labels[arcs.start : arcs.stop]
        is_state = targets >= end  # a shorter state lies before
        yield _Level(arcs, histories, history_of, np.where(is_state, targets, 0))
        histories = np.column_stack([histories[history_of[is_state]], labels[is_state]])
        begin, end = end, end + len(histories)


def _log10(natural: np.ndarray) -> np.ndarray:
    """Rounded as readers round; plus 0, which has no sign."""
    return (natural.astype(np.float64) / LN10).astype(np.float32) + np.float32(0.0)


@dataclass(frozen=True)
class _Block:
    """Some whole lines of a file; a line that begins with a backslash is a block of its own."""

    first_line: int
    text: bytes

    @property
    def marker(self) -> bytes:
        """The line if it begins with a backslash, else nothing."""
        return self.text.strip() if self.text.startswith(b"\\") else b""


@dataclass
class _Ngrams:
    """The n-grams of one order, in file order."""

    words: np.ndarray  # int32 (num_ngrams, order)
    log_probs: np.ndarray  # float64, log10
    backoffs: np.ndarray  # float64, log10
    lines: np.ndarray  # int64


@dataclass
class _Reader:
    path: Path
    ids: dict[bytes, int] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)
    count_line: int = 0

    def read(self, file: BinaryIO) -> NgramModel:
        blocks = _blocks(file)
        parts: dict[int, list[_Ngrams]] = {}
        order = 0
        header_seen = False
        for block in blocks:
            marker = block.marker
            if not header_seen:
                header_seen = marker == b"\\data\\"
            elif marker == b"\\end\\":
                return self._trie(parts, block.first_line).model()
            elif section := _SECTION.fullmatch(marker):
                if int(section[1]) != order + 1 or order == len(self.counts):
                    raise self._error(block.first_line, f"section {marker.decode()} comes where it should not")
                order += 1
                parts[order] = []
            elif marker:
                raise self._error(block.first_line, f"unknown section '{_shown(marker)}'")
            elif order == 0:
                self._read_counts(block)
            elif block.text.strip():
                parts[order].append(self._read_ngrams(block, order))
        if not header_seen:
            raise LmError(f"{self.path}: not an ARPA file, there is no line \\data\\")
        raise LmError(f"{self.path}: the file is cut short, there is no line \\end\\; copy it again")

    def _read_counts(self, block: _Block) -> None:
        for number, line in enumerate(block.text.split(b"\n"), block.first_line):
            if not line.strip():
                continue
            match = _COUNT.fullmatch(line.strip())
            if not match or int(match[1]) != len(self.counts) + 1:
                raise self._error(number, f"expected 'ngram {len(self.counts) + 1}=COUNT', not '{_shown(line)}'")
            self.counts.append(int(match[2]))
            self.count_line = number

    def _read_ngrams(self, block: _Block, order: int) -> _Ngrams:
        fields = np.array(block.text.split(), dtype=object)
        per_line = _fields_per_line(block.text)
        lines = np.flatnonzero(per_line)
        sizes = per_line[lines]
        lines += block.first_line
        allowed = (sizes == order + 1) | (sizes == order + 2)
        if not allowed.all():
            wrong = int(np.argmin(allowed))
            raise self._error(
                lines[wrong], f"{counted(sizes[wrong], 'field')}, expected a number and {counted(order, 'word')}"
            )
        starts = np.cumsum(sizes) - sizes
        if order == 1:
            self._add_words(fields[starts + 1], lines)
        words = np.empty((len(lines), order), dtype=np.int32)
        for column in range(order):
            words[:, column] = list(map(self.ids.get, fields[starts + 1 + column], repeat(-1)))
        if words.min() < 0:
            row, column = np.argwhere(words < 0)[0]
            word = _shown(fields[starts[row] + 1 + column])
            raise self._error(lines[row], f"word '{word}' is not among the 1-grams")
        log_probs = self._numbers(fields[starts], lines)
        if (log_probs > 0.0).any():
            raise self._error(lines[np.argmax(log_probs > 0.0)], "the log-probability is above 0")
        backoffs = np.zeros(len(lines))
        with_backoff = sizes == order + 2
        backoffs[with_backoff] = self._numbers(fields[(starts + order + 1)[with_backoff]], lines[with_backoff])
        if order == len(self.counts) and backoffs.any():
            wrong = int(np.argmax(backoffs != 0.0))
            raise self._error(lines[wrong], f"{sizes[wrong]} fields, expected a number and {order} words")
        return _Ngrams(words, log_probs, backoffs, lines)

    def _numbers(self, fields: np.ndarray, lines: np.ndarray) -> np.ndarray:
        """float64 of each field; minus infinity becomes the customary log10 of zero."""
        try:
            numbers = np.array(list(map(float, fields)), dtype=np.float64)
        except ValueError:
            wrong = next(index for index, text in enumerate(fields) if not _is_number(text))
            raise self._error(lines[wrong], f"'{_shown(fields[wrong])}' is not a number") from None
        numbers[numbers == -np.inf] = ZERO
        sane = np.abs(numbers) < LARGEST  # not so for NaN
        if not sane.all():
            raise self._error(lines[np.argmin(sane)], "a number is infinite or NaN")
        return numbers

    def _add_words(self, words: np.ndarray, lines: np.ndarray) -> None:
        for word, line in zip(words, lines, strict=True):
            if word in self.ids:
                raise self._error(line, f"word '{_shown(word)}' comes twice")
            self.ids[word] = len(self.ids)
            try:
                word.decode()
            except UnicodeDecodeError:
                raise self._error(line, f"word '{_shown(word)}' is not UTF-8; convert the file") from None

    def _trie(self, parts: dict[int, list[_Ngrams]], end_line: int) -> NgramTrie:
        levels = self._levels(parts, end_line)
        words = [word.decode() for word in self.ids]
        if UNK_WORD not in words and "<UNK>" in words:
            words[words.index("<UNK>")] = UNK_WORD
        unigrams = levels[0]
        unknown = unigrams.log_probs[words.index(UNK_WORD)] if UNK_WORD in words else UNKNOWN
        for word, log_prob in ((UNK_WORD, UNKNOWN), (BOS_WORD, ZERO), (EOS_WORD, unknown)):
            if word not in words:
                words.append(word)
                unigrams.log_probs = np.append(unigrams.log_probs, log_prob)
                unigrams.backoffs = np.append(unigrams.backoffs, 0.0)
        return self._build(tuple(words), levels)

    def _levels(self, parts: Mapping[int, list[_Ngrams]], end_line: int) -> list[_Ngrams]:
        """The n-grams of each order as the header counts them, but for the highest orders if there are none of them.

        A back-off weight of an n-gram counts for any word behind it, so the order above these stays.
        """
        levels = []
        for order, count in enumerate(self.counts or [1], 1):
            if order not in parts and (count or order == 1):
                raise self._error(end_line, f"the {order}-grams are missing")
            levels.append(_joined(parts.get(order, []), order))
            if len(levels[-1].lines) != count:
                found = f"the header announces {count} {order}-grams, the file holds {len(levels[-1].lines)}"
                raise self._error(self.count_line, found)
        while len(levels) > 1 and not len(levels[-1].lines) and not levels[-2].backoffs.any():
            levels.pop()
        if len(levels) < len(self.counts):
            announced = f"there are no n-grams of the {len(self.counts)} words that the header announces"
            warnings.warn(f"{self.path}: {announced}; the order is {len(levels)}", stacklevel=2)
        return levels

    def _build(self, words: tuple[str, ...], levels: list[_Ngrams]) -> NgramTrie:
        """Sort n-grams into nodes, level by level; those of higher orders bring their beginnings along."""
        parents = [np.zeros(1 + len(words), dtype=np.int64)]
        labels = [np.arange(-1, len(words))]
        log_probs = [np.append(0.0, levels[0].log_probs)]
        backoffs = [np.append(0.0, levels[0].backoffs)]
        level_begins = [0, 1, 1 + len(words)]
        nodes = [level.words[:, 0].astype(np.int64) + 1 for level in levels]  # of each n-gram's beginning so far
        for order, level in enumerate(levels[1:], 2):
            reaching = range(order - 1, len(levels))  # the levels whose n-grams are at least so long
            keys = [edge_keys(nodes[index], levels[index].words[:, order - 1], len(words)) for index in reaching]
            edges = distinct(np.concatenate([distinct(key) for key in keys]))
            for index, key in zip(reaching, keys, strict=True):
                nodes[index] = level_begins[-1] + find(edges, key)[0]
            own = nodes[order - 1] - level_begins[-1]
            self._refuse_repetition(own, level, len(edges))
            parents.append(edges // len(words))
            labels.append(edges % len(words))
            log_probs.append(_scattered(own, level.log_probs, len(edges), fill=np.nan))
            backoffs.append(_scattered(own, level.backoffs, len(edges), fill=0.0))
            level_begins.append(level_begins[-1] + len(edges))
        return NgramTrie(
            words,
            np.array(level_begins),
            np.concatenate(parents).astype(np.int32),
            np.concatenate(labels).astype(np.int32),
            (np.concatenate(log_probs) * LN10).astype(np.float32),
            (np.concatenate(backoffs) * LN10).astype(np.float32),
        )

    def _refuse_repetition(self, nodes: np.ndarray, level: _Ngrams, num_nodes: int) -> None:
        repeated = np.flatnonzero(np.bincount(nodes, minlength=num_nodes) > 1)
        if repeated.size:
            first, again = level.lines[nodes == repeated[0]][:2]
            raise self._error(again, f"the n-gram already stands in line {first}")

    def _error(self, line: int, what: str) -> LmError:
        return LmError(f"{self.path}:{line}: {what}")


def _blocks(file: BinaryIO) -> Iterator[_Block]:
    """The lines of a file, many at a time."""
    line, rest = 1, file.read(len(BOM_UTF8)).removeprefix(BOM_UTF8)
    while data := file.read(BLOCK_BYTES):
        whole, newline, rest = (rest + data).rpartition(b"\n")
        for block in _split_markers(line, whole + newline):
            yield block
            line = block.first_line + block.text.count(b"\n")
    yield from _split_markers(line, rest)


def _split_markers(line: int, text: bytes) -> Iterator[_Block]:
    """Whole lines, cut before and after every line that begins with a backslash."""
    begin = 0
    while begin < len(text):
        border = b"\n" if text.startswith(b"\\", begin) else b"\n\\"
        end = (text.find(border, begin) + 1) or len(text)
        yield _Block(line, text[begin:end])
        line += text.count(b"\n", begin, end)
        begin = end


def _fields_per_line(text: bytes) -> np.ndarray:
    """How many fields each line has, int64; a field is what stands between white space."""
    codes = np.frombuffer(text, dtype=np.uint8)
    is_space = _IS_SPACE[codes]
    begins_field = ~is_space
    begins_field[1:] &= is_space[:-1]
    line_ends = np.append(np.flatnonzero(codes == _NEWLINE), len(codes))
    return np.diff(np.searchsorted(np.flatnonzero(begins_field), line_ends), prepend=0)


def _joined(parts: list[_Ngrams], order: int) -> _Ngrams:
    """All parts of one order together."""
    empty = _Ngrams(np.zeros((0, order), dtype=np.int32), np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64))
    parts = [empty, *parts]
    return _Ngrams(
        np.concatenate([part.words for part in parts]),
        np.concatenate([part.log_probs for part in parts]),
        np.concatenate([part.backoffs for part in parts]),
        np.concatenate([part.lines for part in parts]),
    )


def _scattered(places: np.ndarray, values: np.ndarray, size: int, fill: float) -> np.ndarray:
    result = np.full(size, fill)
    result[places] = values
    return result


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shown(text: bytes) -> str:
    """Bytes for an error message."""
    return ascii(text.decode("utf-8", "replace").strip())[1:-1]
