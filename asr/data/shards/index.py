"""The index of a sharded corpus: which shards there are, and for every utterance all but its samples.

    shards.jsonl          {"shard": "shard-000000.tar", "index": "shard-000000.jsonl", "utterances": 812, ...}
    shard-000000.jsonl    {"id": ..., "audio": "a.flac", "duration": 2.1, "text": ..., "offset": 512, "bytes": 31044}
    shard-000000.tar      a.flac, a.json, ...

`audio` is the member's name; `offset` is where its bytes begin in the tar file. All names are relative to the index.
"""

from __future__ import annotations

import hashlib
import json
import os
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from asr.data.manifest.line_files import LineFiles
from asr.data.manifest.rows import check_row, utterance_from_row
from asr.data.manifest.table import Table
from asr.data.shards.store import ShardStore, is_address
from asr.errors import AudioError, ManifestError
from asr.types import Utterance

INDEX_FILE = "shards.jsonl"
KEYS = {"shard": str, "index": str, "utterances": int, "duration": float, "bytes": int, "sha256": str,
        "index_sha256": str}  # fmt: skip


@dataclass(frozen=True)
class Shard:
    """One tar file."""

    number: int  # in the index, from 0
    place: str  # path or http address
    num_bytes: int
    sha256: str
    store: ShardStore | None = None  # for one behind http

    def local_path(self) -> Path:
        """Where the file lies on this machine; DownloadError if it is remote and cannot be fetched."""
        return self.store.fetch(self.place, self.sha256) if self.store is not None else Path(self.place)

    def read(self, offset: int, num_bytes: int) -> bytes:
        """A stretch of the file; AudioError if the file is missing or not the one that the index describes."""
        try:
            with self._open() as file:
                size = os.fstat(file.fileno()).st_size
                if size != self.num_bytes:
                    raise AudioError(
                        f"{file.name}: has {size} bytes, not the {self.num_bytes} of the index; copy it again"
                    )
                file.seek(offset)
                return file.read(num_bytes)
        except OSError as error:
            raise AudioError(f"{self.place}: cannot read the shard ({error.strerror})") from error

    def _open(self) -> BinaryIO:
        try:
            return open(self.local_path(), "rb")
        except FileNotFoundError:  # another process dropped the local copy between the two calls
            if self.store is None:
                raise
            return open(self.local_path(), "rb")


@dataclass(frozen=True, kw_only=True)
class ShardedUtterance(Utterance):
    """An utterance whose audio is a member of a tar file; `audio` only says which."""

    shard: Shard
    offset: int  # of the member's bytes
    num_bytes: int


def is_shard_index(source: str) -> bool:
    """Whether `data.train` names shards, and not a manifest: an http address, or a file whose first line is a shard."""
    if is_address(source):
        return True
    try:
        with open(source, "rb") as file:
            row = json.loads(file.readline())
    except (OSError, ValueError, RecursionError):
        return False  # `read_manifest` tells what is wrong with it
    return isinstance(row, dict) and "shard" in row


class ShardTable(Table):
    """The utterances of shards, in the order of the index; see `read_shards`."""

    def __init__(self, shards: Sequence[Shard], files: LineFiles) -> None:
        """`files`: the row index of every shard."""
        super().__init__(files, check_sharded_row)
        self.shards = shards

    def utterance(self, row: dict[str, Any], file: int) -> ShardedUtterance:
        """A row, with the shard that its audio lies in."""
        shard = self.shards[file]
        offset, num_bytes = row.pop("offset"), row.pop("bytes")
        utterance = utterance_from_row(row, Path(shard.place.rsplit("/", 1)[-1]))
        return ShardedUtterance(**vars(utterance), shard=shard, offset=offset, num_bytes=num_bytes)

    @property
    def shard_starts(self) -> NDArray[np.int64]:
        """(shards + 1,) the first row of each shard, and the number of rows."""
        return np.searchsorted(self.row_index.offsets, self.files.starts)


def read_shards(source: str, *, window: int = 1, cache: Path | None = None) -> ShardTable:
    """Every utterance of a sharded corpus, in the order of the index; no audio is read.

    `source` is the path or the http address of a `shards.jsonl`. Shards behind http are kept in `cache`; without, so
    many as `window` makes necessary are kept among the system's temporary files. ManifestError for a bad line or a file
    that does not fit the index, DownloadError for one that cannot be fetched.
    """
    store = ShardStore(source, cache, window) if is_address(source) else None
    content = _content(source if store is None else str(store.fetch_anew(source)), source)
    shards: list[Shard] = []
    paths: list[Path] = []
    names: list[str] = []
    for number, (where, row) in enumerate(_json_lines(content, source)):
        _check_shard_row(row, where)
        shards.append(Shard(number, _join(source, row["shard"]), row["bytes"], row["sha256"], store))
        names.append(_join(source, row["index"]))
        paths.append(store.fetch(names[-1], row["index_sha256"]) if store is not None else Path(names[-1]))
        if hashlib.sha256(_content(str(paths[-1]), names[-1])).hexdigest() != row["index_sha256"]:
            raise ManifestError(f"{names[-1]}: is not the file that {source} describes; copy both again")
    table = ShardTable(shards, LineFiles(paths, names)) if shards else ()
    if not table:
        raise ManifestError(f"{source}: the index is empty; make the shards again")
    return table


def _join(source: str, name: str) -> str:
    return urllib.parse.urljoin(source, name) if is_address(source) else str(Path(source).parent / name)


def _content(path: str, name: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ManifestError(f"{name}: cannot read it ({error.strerror}); check the path") from error


def _json_lines(content: bytes, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode())
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{name}:{number}: the line is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise ManifestError(f"{name}:{number}: the line is not a JSON object")
        yield f"{name}:{number}", row


def _check_shard_row(row: dict[str, Any], where: str) -> None:
    for key, kind in KEYS.items():
        if not isinstance(row.get(key), kind):
            raise ManifestError(f"{where}: key '{key}' is missing or of the wrong kind; make the shards again")


def check_sharded_row(row: dict[str, Any]) -> None:
    """ManifestError, without a place, unless the object is a row of the index of a shard."""
    offset, num_bytes = row.get("offset"), row.get("bytes")
    if not isinstance(offset, int) or not isinstance(num_bytes, int) or offset < 0 or num_bytes <= 0:
        raise ManifestError("'offset' and 'bytes' must be numbers of bytes; make the shards again")
    check_row({key: value for key, value in row.items() if key not in ("offset", "bytes")})
