"""What an experiment trains on."""

from __future__ import annotations

from pathlib import Path

from asr.config import DataConfig
from asr.data.manifest import open_manifest
from asr.data.manifest.table import Table
from asr.data.shards.index import is_shard_index, read_shards


def read_training_rows(data: DataConfig) -> Table:
    """The rows of `data.train`, be it a manifest or an index of shards."""
    if not is_shard_index(data.train):
        return open_manifest(Path(data.train))
    cache = Path(data.shard_cache) if data.shard_cache is not None else None
    return read_shards(data.train, window=data.shuffle_shards, cache=cache)
