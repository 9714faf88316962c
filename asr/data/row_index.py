"""Where each row of large files stands and how long its utterance is, found by one strict pass over all lines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.data.line_files import LineFiles
from asr.data.rows import content_line, parse_object
from asr.errors import ManifestError
from asr.system.processes import num_cores, share_out

CHUNK_BYTES = 2**23  # read and checked at once
POOLED_CHUNKS = 8  # as many at least are worth other processes, which take a second to start

Check = Callable[[dict[str, Any]], None]  # raises ManifestError, without a place; a function of a module


@dataclass(frozen=True)
class RowIndex:
    """What can be told of N rows without reading them again: 16 bytes for each."""

    offsets: NDArray[np.int64]  # (N,) byte of the files where each row's line begins
    durations: NDArray[np.float64]  # (N,) seconds
    content_hash: str  # as `content_hash` of all rows

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(frozen=True)
class _Chunk:
    """The rows of whole lines that follow each other; of bytes, which travel between processes fastest."""

    offsets: bytes
    durations: bytes
    id_hashes: bytes
    content: bytes  # for the hash
    error: tuple[int, str] | None  # offset of the first line that is no row, and what is wrong with it


def build_index(files: LineFiles, check: Check, workers: int | None = None) -> RowIndex:
    """Check every row of files; ManifestError as `path:line: ...` for the first bad one, or if two ids are equal.

    Memory grows by 24 bytes a row, and while ids are compared by 8 more. `workers` processes, one per core unless
    given, share the work on large files.
    """
    offsets, durations, id_hashes = bytearray(), bytearray(), bytearray()
    content = hashlib.sha256()
    spans = list(files.spans(CHUNK_BYTES))
    workers = (workers or num_cores()) if len(spans) >= POOLED_CHUNKS else 1
    for chunk in share_out(_scan, (files, check), spans, workers, "reads a manifest"):
        if chunk.error is not None:
            name, line = files.place(chunk.error[0])
            raise ManifestError(f"{name}:{line}: {chunk.error[1]}")
        offsets += chunk.offsets
        durations += chunk.durations
        id_hashes += chunk.id_hashes
        content.update(chunk.content)
    index = RowIndex(
        np.frombuffer(offsets, dtype=np.int64), np.frombuffer(durations, dtype=np.float64), content.hexdigest()
    )
    _refuse_equal_ids(files, index.offsets, np.frombuffer(id_hashes, dtype=np.uint64))
    return index


def _scan(files: LineFiles, check: Check, start: int, stop: int) -> _Chunk:
    """Check the lines of a chunk, up to the first that is no row."""
    offsets: list[int] = []
    durations: list[float] = []
    id_hashes: list[bytes] = []
    content: list[bytes] = []
    fault = None
    position = start
    for line in files.read(start, stop).split(b"\n"):
        if line and not line.isspace():
            try:
                row = parse_object(line)
                check(row)
            except ManifestError as error:
                fault = position, str(error)
                break
            offsets.append(position)
            durations.append(float(row["duration"]))
            id_hashes.append(_id_hash(row["id"]))
            content.append(content_line(row["id"], row.get("text", ""), row["duration"], row.get("start", 0.0)))
        position += len(line) + 1
    return _Chunk(
        np.array(offsets, dtype=np.int64).tobytes(),
        np.array(durations, dtype=np.float64).tobytes(),
        b"".join(id_hashes),
        b"".join(content),
        fault,
    )


def _id_hash(id: str) -> bytes:
    return hashlib.blake2b(id.encode(errors="surrogatepass"), digest_size=8).digest()


def _refuse_equal_ids(files: LineFiles, offsets: NDArray[np.int64], id_hashes: NDArray[np.uint64]) -> None:
    """ManifestError for the first row whose id an earlier row has. Equal hashes only tell where to look."""
    in_order = np.sort(id_hashes)
    repeated = np.unique(in_order[1:][in_order[1:] == in_order[:-1]])
    del in_order
    if not len(repeated):
        return
    first: dict[str, int] = {}
    for offset in offsets[np.isin(id_hashes, repeated)].tolist():
        id = parse_object(files.read_line(offset))["id"]
        if first.setdefault(id, offset) != offset:
            (name, line), (origin, line_of_origin) = files.place(offset), files.place(first[id])
            where = f"line {line_of_origin}" if origin == name else f"{origin}:{line_of_origin}"
            raise ManifestError(f"{name}:{line}: id '{id}' already stands in {where}; ids must differ")
