"""The training corpus, and one pass over its texts: what cannot be learnt from, and hashes of the texts.

Large corpora are shared out among processes, and which rows were set aside is kept with the corpus's index: a run
that is resumed, or another process of the same run, only looks it up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.bundle.training_texts import TrainingTexts
from asr.config import DataConfig
from asr.data.manifest import open_manifest
from asr.data.manifest.index import load_array
from asr.data.manifest.table import Table
from asr.data.requirements import FOUND, Requirements, SetAside, first_faults
from asr.data.shards.index import is_shard_index, read_shards
from asr.errors import AsrError
from asr.system.processes import num_cores, share_out
from asr.system.runtime import atomic_path
from asr.text.normalize import normalize
from asr.types import Utterance

CHUNK_ROWS = 2**13
POOLED_CHUNKS = 16  # as many at least are worth other processes, which take seconds to start


@dataclass(frozen=True)
class Survey:
    """What a pass over a corpus found."""

    set_aside: SetAside
    texts: TrainingTexts | None  # None unless asked for


def read_training_rows(data: DataConfig) -> Table:
    """The rows of `data.train`, be it a manifest or an index of shards."""
    if not is_shard_index(data.train):
        return open_manifest(Path(data.train))
    cache = Path(data.shard_cache) if data.shard_cache is not None else None
    return read_shards(data.train, window=data.shuffle_shards, cache=cache)


def survey(rows: Sequence[Utterance], requirements: Requirements, *, key: str, texts_as: str | None) -> Survey:
    """Look at every row, unless all that is asked for is kept from an earlier time under the same `key`.

    `texts_as` names the normaliser under which texts are hashed; None: they are not asked for.

    WorkerError if a process that helps is killed.
    """
    kept = rows.folder / f"set-aside-{key}.npy" if isinstance(rows, Table) and rows.folder is not None else None
    if kept is not None and texts_as is None:
        with contextlib.suppress(OSError, ValueError):
            return Survey(SetAside.collect(load_array(kept), rows, requirements), None)
    chunks = [(start, min(start + CHUNK_ROWS, len(rows))) for start in range(0, len(rows), CHUNK_ROWS)]
    workers = num_cores() if isinstance(rows, Table) and len(chunks) >= POOLED_CHUNKS else 1
    found, hashes = bytearray(), bytearray()
    for part in share_out(_part, (rows, requirements, texts_as), chunks, workers, "checks the training rows"):
        found += part[0]
        hashes += part[1]
    set_aside = SetAside.collect(np.frombuffer(found, dtype=FOUND), rows, requirements)
    if kept is not None:
        with contextlib.suppress(AsrError), atomic_path(kept) as temporary, open(temporary, "wb") as file:
            np.save(file, set_aside.found)  # a folder that cannot be written costs time and nothing else
    return Survey(set_aside, TrainingTexts.of(np.frombuffer(hashes, dtype="<u8")) if texts_as is not None else None)


def _part(
    rows: Sequence[Utterance], requirements: Requirements, texts_as: str | None, start: int, stop: int
) -> tuple[bytes, bytes]:
    """Of one chunk of rows: those set aside as FOUND, and hashes of what is said in it, each once."""
    chunk = rows[start:stop]
    texts = [normalize(row.text, requirements.normalizer) for row in chunk]
    found = first_faults(zip(texts, (row.duration for row in chunk), strict=True), requirements)
    found["row"] += start
    if texts_as is None:
        return found.tobytes(), b""
    if texts_as != requirements.normalizer:
        texts = [normalize(row.text, texts_as) for row in chunk]
    said = TrainingTexts.collect(texts, {row.speaker for row in chunk if row.speaker is not None})
    return found.tobytes(), said.hashes.tobytes()
