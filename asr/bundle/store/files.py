"""Files of models at their sources: which are needed, whether they are what they should be, how far one has come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import Path

from asr.bundle.catalogue import Layout
from asr.bundle.import_record import ImportedFile
from asr.system.display import Display, counted

CHUNK_BYTES = 1 << 20
BAR_WIDTH = 24

Advance = Callable[[int], None]
"""Called with how many more bytes are done."""

WEIGHTS = {Layout.CTRANSLATE2: "model.bin", Layout.TRANSFORMERS: "model.safetensors"}
SHARD_INDEX = "model.safetensors.index.json"
SIDE_FILES = {
    Layout.CTRANSLATE2: ("config.json", "preprocessor_config.json", "tokenizer.json", "vocabulary.*"),
    Layout.TRANSFORMERS: (
        "added_tokens.json",
        "config.json",
        "generation_config.json",
        "merges.txt",
        "preprocessor_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    ),
}


class UnavailableError(Exception):
    """A source cannot give a model; the message says why."""


def side_files(names: Iterable[str], layout: Layout) -> list[str]:
    """Those of a source's files that are read besides the weights, the list of shards included."""
    patterns = (*SIDE_FILES[layout], SHARD_INDEX)
    return sorted(name for name in names if _is_plain(name) and any(fnmatch(name, pattern) for pattern in patterns))


def weight_files(names: Iterable[str], layout: Layout, index: Callable[[], Path] | None = None) -> list[str]:
    """The files of the weights, which `index` lists where they are in shards. UnavailableError if one is missing."""
    present = set(names)
    whole = WEIGHTS[layout]
    if whole in present:
        return [whole]
    if layout is not Layout.TRANSFORMERS or SHARD_INDEX not in present or index is None:
        archive = " (pytorch_model.bin alone is read by `asr models import`)" if "pytorch_model.bin" in present else ""
        raise UnavailableError(f"has no {whole}{archive}")
    try:
        shards = sorted(set(json.loads(index().read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UnavailableError(f"has a damaged {SHARD_INDEX}") from error
    if missing := [shard for shard in shards if shard not in present or not _is_plain(shard)]:
        raise UnavailableError(f"has no {missing[0]}")
    return shards


def _is_plain(name: str) -> bool:
    """Whether a file lies in its folder itself: a name from elsewhere leads nowhere else."""
    return "/" not in name and "\\" not in name


def digest(path: Path, advance: Advance) -> ImportedFile:
    """Size and checksum of a file."""
    sha256, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
            size += len(chunk)
            advance(len(chunk))
    return ImportedFile(size, sha256.hexdigest())


def join(parts: Iterable[Path], target: Path, advance: Advance) -> ImportedFile:
    """Write parts one behind the other; size and checksum of the whole."""
    sha256, size = hashlib.sha256(), 0
    with open(target, "wb") as whole:
        for part in parts:
            with open(part, "rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    whole.write(chunk)
                    sha256.update(chunk)
                    size += len(chunk)
                    advance(len(chunk))
    return ImportedFile(size, sha256.hexdigest())


class Bar:
    """How much of something is done, on a terminal."""

    def __init__(self, display: Display, what: str, total: int) -> None:
        self._display = display
        self._what = what
        self._total = total
        self._done = 0

    def advance(self, num_bytes: int) -> None:
        """So many more bytes are done."""
        self._done += num_bytes
        share = min(1.0, self._done / self._total) if self._total else 1.0
        full = round(BAR_WIDTH * share)
        bar = "#" * full + "." * (BAR_WIDTH - full)
        self._display.update(f"{self._what}  [{bar}]  {megabytes(self._done)} of {megabytes(self._total)}")

    def finish(self) -> None:
        """Clear it."""
        self._display.clear()


def megabytes(num_bytes: int) -> str:
    """`145.2 MB`"""
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else counted(num_bytes, "byte")
