"""What an experiment trains on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asr.config import DataConfig
from asr.data.manifest import read_manifest
from asr.data.shards.index import is_shard_index, read_shards
from asr.types import Utterance


def read_training_rows(data: DataConfig) -> Sequence[Utterance]:
    """The rows of `data.train`, be it a manifest or an index of shards."""
    if not is_shard_index(data.train):
        return read_manifest(Path(data.train))
    cache = Path(data.shard_cache) if data.shard_cache is not None else None
    return read_shards(data.train, window=data.shuffle_shards, cache=cache)
