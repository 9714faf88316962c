"""Files of lines, read piece by piece as if they were one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from asr.errors import ManifestError
from asr.system.paths import where_to_look

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
HELD_BYTES = 2**25  # of all files together; no more than these are held in memory
BLOCK_BYTES = 2**18  # read at once in search of ends of lines


class LineFiles:
    """Files one after another; an offset counts bytes from the beginning of the first.

    Small files are read once and held, so that what happens to them later does not matter. Large ones are read where
    and when a piece is asked for, by position: mapped into memory they would count as memory of every process, and a
    file cut short meanwhile would kill the process instead of raising an error. May be pickled for other processes.
    """

    def __init__(self, paths: Sequence[Path], names: Sequence[str]) -> None:
        """ManifestError if a file cannot be read; `names` is what messages call them."""
        self.paths = paths
        self.names = names
        self.starts = np.zeros(len(paths) + 1, dtype=np.int64)  # offset of each file, and the end of the last
        self._opened: tuple[int, int, BinaryIO] | None = None  # process, number and file last read from
        for number, path in enumerate(paths):
            try:
                self.starts[number + 1] = path.stat().st_size
            except OSError as error:
                raise self._unreadable(number, error) from error
        np.cumsum(self.starts, out=self.starts)
        self._held: bytes | None = None
        if self.num_bytes <= HELD_BYTES:
            self._held = b"".join(self._read(number, 0, self._size(number)) for number in range(len(paths)))

    @property
    def num_bytes(self) -> int:
        """Of all files together."""
        return int(self.starts[-1])

    @property
    def is_held(self) -> bool:
        """Whether all content is in memory."""
        return self._held is not None

    def file_at(self, offset: int) -> int:
        """The number of the file, from 0, that an offset lies in."""
        return int(np.searchsorted(self.starts, offset, side="right")) - 1

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to `stop`, or to the end of the file that `start` lies in."""
        number = self.file_at(start)
        stop = min(stop, int(self.starts[number + 1]))
        if self._held is not None:
            return self._held[start:stop]
        return self._read(number, start - int(self.starts[number]), stop - start)

    def read_line(self, start: int) -> bytes:
        """The line that begins at an offset, with its end."""
        return self.read(start, self._line_end(start, int(self.starts[self.file_at(start) + 1])))

    def spans(self, num_bytes: int) -> Iterator[tuple[int, int]]:
        """Offsets of stretches of about so many bytes: whole lines of one file, all lines together, marks left out."""
        for number in range(len(self.paths)):
            start, end = (int(offset) for offset in self.starts[number : number + 2])
            if start < end and self.read(start, start + len(BYTE_ORDER_MARK)) == BYTE_ORDER_MARK:
                start += len(BYTE_ORDER_MARK)
            while start < end:
                stop = self._line_end(start + num_bytes, end)
                yield start, stop
                start = stop

    def place(self, offset: int) -> tuple[str, int]:
        """The name of the file and the number, from 1, of the line that begins at an offset."""
        number = self.file_at(offset)
        position, num_lines = int(self.starts[number]), 0
        while position < offset:
            block = self.read(position, min(offset, position + BLOCK_BYTES))
            num_lines += block.count(b"\n")
            position += len(block)
        return self.names[number], num_lines + 1

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_opened": None}

    def _line_end(self, offset: int, end: int) -> int:
        """Where the line that holds an offset ends, at `end` of its file at the latest."""
        while offset < end:
            block = self.read(offset, offset + BLOCK_BYTES)
            newline = block.find(b"\n")
            if newline >= 0:
                return offset + newline + 1
            offset += len(block)
        return end

    def _size(self, number: int) -> int:
        return int(self.starts[number + 1] - self.starts[number])

    def _read(self, number: int, position: int, num_bytes: int) -> bytes:
        try:
            if self._opened is None or self._opened[:2] != (os.getpid(), number):
                # Of its own for every process: a position in a file is shared with the one that forked this one.
                self._opened = os.getpid(), number, open(self.paths[number], "rb", buffering=0)
            file = self._opened[2]
            file.seek(position)
            content = file.read(num_bytes)
        except OSError as error:
            raise self._unreadable(number, error) from error
        if len(content) < num_bytes:
            raise ManifestError(f"{self.names[number]}: has changed while it was in use; start again")
        return content

    def _unreadable(self, number: int, error: OSError) -> ManifestError:
        advice = where_to_look(self.paths[number])
        return ManifestError(f"{self.names[number]}: cannot read the manifest ({error.strerror}){advice}")
