"""Where each row of large files stands and how long its utterance is, found by one strict pass over all lines.

The index is made once and then mapped by every process of every run. It stands beside the first file, in
`.NAME.index/KEY/`, or in the user's cache folder where that cannot be written. The key follows size, time and samples
of the content of all files, so an index of other content is never taken.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.data.manifest.line_files import LineFiles
from asr.data.manifest.rows import content_line, parse_object
from asr.errors import ManifestError
from asr.system.processes import num_cores, share_out

CHUNK_BYTES = 2**23  # read and checked at once
POOLED_CHUNKS = 8  # as many at least are worth other processes, which take a second to start
VERSION = 1  # of what is kept; another one is another key
SAMPLES, SAMPLE_BYTES = 256, 4096  # how much of the content decides the key

INFO_FILE = "index.json"

Check = Callable[[dict[str, Any]], None]  # raises ManifestError, without a place; a function of a module


@dataclass(frozen=True)
class RowIndex:
    """What is known of N rows without reading them again: 16 bytes for each."""

    offsets: NDArray[np.int64]  # (N,) byte of the files where each row's line begins
    durations: NDArray[np.float64]  # (N,) seconds
    content_hash: (
        str  # SHA-256 over ids, texts, durations and starts in order, in hex: the same wherever the audio lies
    )

    def __len__(self) -> int:
        return len(self.offsets)


def open_index(files: LineFiles, check: Check) -> tuple[RowIndex, Path | None]:
    """The index of files and the folder it is kept in; files that are held in memory get a fresh one, kept nowhere.

    Raises as `build_index` does. Where no folder can be written, the index lives as long as this process.
    """
    if files.is_held:
        return build_index(files, check), None
    folders = [place / _key(files) for place in _places(files)]
    for folder in folders:
        if (index := load_index(folder)) is not None:
            return index, folder
    index = build_index(files, check)
    for folder in folders:
        try:
            _save(index, folder)
        except OSError:
            continue
        if (kept := load_index(folder)) is not None:
            return kept, folder
    return index, None


def load_index(folder: Path) -> RowIndex | None:
    """A kept index, mapped into memory; None if there is no whole one."""
    try:
        info = json.loads((folder / INFO_FILE).read_text(encoding="utf-8"))
        offsets, durations = (load_array(folder / f"{name}.npy") for name in ("offsets", "durations"))
        index = RowIndex(offsets, durations, info["content_hash"])
        return index if len(offsets) == len(durations) == info["rows"] else None
    except (OSError, ValueError, KeyError):
        return None


def load_array(path: Path) -> NDArray[Any]:
    """An array of a file, mapped: processes share its pages. OSError or ValueError if there is no whole one."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _save(index: RowIndex, folder: Path) -> None:
    """Write an index as a folder that appears whole, and remove those of earlier content."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as temporary:
        new = Path(temporary, folder.name)
        new.mkdir()
        np.save(new / "offsets.npy", index.offsets)
        np.save(new / "durations.npy", index.durations)
        info = {"rows": len(index), "content_hash": index.content_hash}
        (new / INFO_FILE).write_text(json.dumps(info), encoding="utf-8")
        for old in folder.parent.iterdir():
            if not old.name.startswith(".new-") and (old != folder or load_index(old) is None):
                shutil.rmtree(old, ignore_errors=True)
        if not folder.exists():  # else another process was faster
            new.rename(folder)


def _places(files: LineFiles) -> Iterator[Path]:
    """Folders for the indices of these files, best first."""
    first = files.paths[0].resolve()
    yield first.parent / f".{first.name}.index"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    yield home / "asr" / "indices" / hashlib.sha256(str(first).encode(errors="surrogateescape")).hexdigest()[:16]


def _key(files: LineFiles) -> str:
    digest = hashlib.sha256(f"{VERSION}\n".encode())
    for path in files.paths:
        try:
            status = path.stat()
        except OSError as error:
            raise ManifestError(f"{path}: cannot read it ({error.strerror}); check the path") from error
        digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
    last = max(0, files.num_bytes - SAMPLE_BYTES)
    for number in range(SAMPLES):
        start = last * number // (SAMPLES - 1)
        digest.update(files.read(start, start + SAMPLE_BYTES))
    return digest.hexdigest()[:16]


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
