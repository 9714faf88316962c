"""A stretch of a file, perhaps behind other bytes, as a file of its own."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True)
class Part:
    """A recording in a file: the bytes `front`, which stand for its beginning, then those of the file to `end`."""

    begin: int  # byte of the file
    end: int
    front: bytes = b""  # a header with the length that the file's own lacks
    fault: str = ""  # why it is not whole

    def open(self, path: Path) -> BinaryIO:
        """The recording as a file of its own."""
        return io.BufferedReader(_Spliced(self, open(path, "rb")))


class _Spliced(io.RawIOBase):
    """A part as one file."""

    def __init__(self, part: Part, file: BinaryIO) -> None:
        self._part = part
        self._file = file
        self._size = len(part.front) + part.end - part.begin
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part, wanted = self._part, min(len(buffer), max(0, self._size - self._place))
        data = part.front[self._place : self._place + wanted]
        if not data and wanted:
            self._file.seek(self._place - len(part.front) + part.begin)
            data = self._file.read(wanted)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(0, offset + (0, self._place, self._size)[whence])
        return self._place

    def close(self) -> None:
        self._file.close()
        super().close()
