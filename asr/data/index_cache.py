"""Indices of large files, made once and then mapped by every process of every run.

They stand beside the first file, in `.NAME.index/KEY/`, or in the user's cache folder where that cannot be written. The
key follows size, time and samples of the content of all files, so an index of other content is never taken.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.data.line_files import LineFiles
from asr.data.row_index import Check, RowIndex, build_index
from asr.errors import ManifestError

VERSION = 1  # of what is kept; another one is another key
SAMPLES, SAMPLE_BYTES = 256, 4096  # how much of the content decides the key

INFO_FILE = "index.json"


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
