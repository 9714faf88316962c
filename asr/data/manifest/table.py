"""Corpora of any size as sequences of utterances: rows are parsed when they are asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from asr.data.manifest.index import Check, load_index, open_index
from asr.data.manifest.line_files import LineFiles
from asr.data.manifest.rows import parse_object
from asr.errors import ManifestError
from asr.types import Utterance

BLOCK_ROWS = 256  # read at once where rows are taken in order


class Durations(Protocol):
    """Seconds of rows, as an array or like one."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float64]: ...


class LazySequence(Sequence[Utterance]):
    """What sequences of utterances share that make each one anew."""

    @abstractmethod
    def row(self, number: int) -> Utterance:
        """Row 0..len-1."""

    @property
    @abstractmethod
    def durations(self) -> Durations:
        """Seconds of every row."""

    @overload
    def __getitem__(self, rows: int) -> Utterance: ...

    @overload
    def __getitem__(self, rows: slice) -> list[Utterance]: ...

    def __getitem__(self, rows: int | slice) -> Utterance | list[Utterance]:
        numbers = range(len(self))[rows]
        return self.row(numbers) if isinstance(numbers, int) else self._listed(numbers)

    def _listed(self, numbers: range) -> list[Utterance]:
        return [self.row(number) for number in numbers]


class Table(LazySequence):
    """The rows of files of JSON lines, checked once when it is opened; memory does not grow with what they say."""

    def __init__(self, files: LineFiles, check: Check) -> None:
        """Raises as `build_index` does."""
        self.files = files
        self.row_index, self.folder = open_index(files, check)  # the folder may keep more about exactly these rows

    @abstractmethod
    def utterance(self, row: dict[str, Any], file: int) -> Utterance:
        """The utterance of a checked row of the file of that number."""

    def __len__(self) -> int:
        return len(self.row_index)

    @property
    def durations(self) -> NDArray[np.float64]:
        """(N,) seconds."""
        return self.row_index.durations

    @property
    def content_hash(self) -> str:
        """See `RowIndex.content_hash`."""
        return self.row_index.content_hash

    def row(self, number: int) -> Utterance:
        """Row 0..len-1; ManifestError if the file is no longer what it was."""
        begin, end = self._span(number, number + 1)
        return self._parse(self.files.read(begin, end), self.files.file_at(begin))

    def __iter__(self) -> Iterator[Utterance]:
        return self.rows(0, len(self))

    def rows(self, start: int, stop: int) -> Iterator[Utterance]:
        """The rows `start` to `stop` - 1, at a fifth of the time that they take one by one."""
        for first in range(start, stop, BLOCK_ROWS):
            last = min(first + BLOCK_ROWS, stop)
            begin, end = self._span(first, last)
            block, file = self.files.read(begin, end), self.files.file_at(begin)
            if len(block) < end - begin:  # another file begins in between
                yield from (self.row(number) for number in range(first, last))
                continue
            cuts = [*(self.row_index.offsets[first:last] - begin).tolist(), len(block)]
            for start_of_line, end_of_line in pairwise(cuts):
                yield self._parse(block[start_of_line:end_of_line], file)

    def _listed(self, numbers: range) -> list[Utterance]:
        return list(self.rows(numbers.start, numbers.stop)) if numbers.step == 1 else super()._listed(numbers)

    def __getstate__(self) -> dict[str, Any]:
        # An index in a folder is mapped again in the other process, since pickling would copy it.
        return vars(self) | ({"row_index": None} if self.folder is not None else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.folder is not None:
            row_index = load_index(self.folder)
            if row_index is None:
                raise ManifestError(f"{self.folder}: the index was removed while it was in use; start again")
            self.row_index = row_index

    def _span(self, first: int, last: int) -> tuple[int, int]:
        """Where the lines of rows stand; blank ones may follow the last."""
        offsets = self.row_index.offsets
        return int(offsets[first]), int(offsets[last]) if last < len(offsets) else self.files.num_bytes

    def _parse(self, line: bytes, file: int) -> Utterance:
        try:
            return self.utterance(parse_object(line), file)
        except ManifestError as error:
            raise ManifestError(
                f"{self.files.names[file]}: changed while it was in use ({error}); start again"
            ) from error


class Selection(LazySequence):
    """All rows of a corpus but a few."""

    def __init__(self, source: Sequence[Utterance], left_out: NDArray[np.int64]) -> None:
        """`left_out`: row numbers, ascending."""
        self.source = source
        self.left_out = left_out
        self._kept_before = left_out - np.arange(len(left_out))

    def __len__(self) -> int:
        return len(self.source) - len(self.left_out)

    def row(self, number: int) -> Utterance:
        """Row 0..len-1 of those that are left."""
        return self.source[int(self.numbers(np.array([number]))[0])]

    def numbers(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which rows of the source these rows are."""
        return rows + np.searchsorted(self._kept_before, rows, side="right")

    @property
    def durations(self) -> Durations:
        """Seconds of every row that is left."""
        return _SelectedDurations(self, durations_of(self.source))


@dataclass(frozen=True)
class _SelectedDurations:
    selection: Selection
    durations: Durations

    def __len__(self) -> int:
        return len(self.selection)

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float64]:
        return self.durations[self.selection.numbers(rows)]


def durations_of(utterances: Sequence[Utterance]) -> Durations:
    """Seconds of every utterance, without reading rows where that can be avoided."""
    if isinstance(utterances, LazySequence):
        return utterances.durations
    return np.array([utterance.duration for utterance in utterances], dtype=np.float64)


def total_seconds(utterances: Sequence[Utterance]) -> float:
    """The sum of all durations."""
    if isinstance(utterances, Selection):
        left_out = durations_of(utterances.source)[utterances.left_out]
        return total_seconds(utterances.source) - float(np.sum(left_out))
    if isinstance(utterances, Table):
        return float(np.sum(utterances.durations))
    return sum(utterance.duration for utterance in utterances)
