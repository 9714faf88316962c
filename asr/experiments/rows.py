"""Which rows a run trains on and which it validates on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asr.config import Experiment, ReplayConfig
from asr.data.manifest import read_manifest
from asr.data.manifest.table import Selection, total_seconds
from asr.data.shards.reading import shard_starts
from asr.data.split import split_rows
from asr.errors import ConfigError, ManifestError
from asr.experiments.survey import read_training_rows
from asr.system.runtime import derive_rng
from asr.types import Utterance


def read_rows(config: Experiment) -> tuple[Sequence[Utterance], Sequence[Utterance]]:
    """Rows to train on and to validate on, which are held out of the former where `data.dev` is a share.

    General speech, where `data.replay` asks for it, is among the former.
    """
    rows: Sequence[Utterance] = read_training_rows(config.data)
    share = config.data.dev_share
    if shard_starts(rows) is not None and (share is not None or config.data.replay is not None):
        raise ConfigError("data.train: rows of shards can be neither held out nor mixed with others; name a manifest")
    if share is None:
        dev: Sequence[Utterance] = read_manifest(Path(config.data.dev))
    else:
        try:
            held_out = split_rows(rows, {"dev": share}, by=config.data.dev_by, seed=config.seed).rows["dev"]
        except ManifestError as error:
            raise ManifestError(f"{config.data.train}: {error}") from error
        rows, dev = Selection(rows, held_out), [rows[int(row)] for row in held_out]
    if config.data.replay is not None:
        rows = [*rows, *_replayed(config.data.replay, total_seconds(rows), config.seed)]
        _refuse_same_ids(rows, config.data.replay.manifest)
    return rows, dev


def _replayed(config: ReplayConfig, own_seconds: float, seed: int) -> list[Utterance]:
    """Rows of general speech, drawn until they are the share of all that is asked for, or none is left."""
    general = read_manifest(Path(config.manifest))
    left = config.share / (1 - config.share) * own_seconds
    drawn = []
    for row in derive_rng(seed, "replay").permutation(len(general)):
        if left <= 0:
            break
        drawn.append(general[int(row)])
        left -= drawn[-1].duration
    return drawn


def _refuse_same_ids(rows: Sequence[Utterance], manifest: str) -> None:
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise ManifestError(f"{manifest}: id '{row.id}' is among the other training rows, too; ids must differ")
        seen.add(row.id)
