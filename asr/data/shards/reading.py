"""From sharded utterances to samples, and to the shards that will be needed next."""

from __future__ import annotations

import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from asr.audio.io import load_audio
from asr.data.manifest.table import Selection
from asr.data.shards.index import Shard, ShardedUtterance, ShardTable
from asr.errors import AsrError, AudioError
from asr.types import Utterance


def shard_starts(utterances: Sequence[Utterance]) -> NDArray[np.int64] | None:
    """The first utterance of each shard, and the number of all; None for utterances that are files of their own."""
    if isinstance(utterances, ShardTable):
        return utterances.shard_starts
    if isinstance(utterances, Selection) and (starts := shard_starts(utterances.source)) is not None:
        return starts - np.searchsorted(utterances.left_out, starts)
    return None


def load_waveform(utterance: Utterance, sample_rate: int) -> np.ndarray:
    """The waveform (num_samples,) float32 of an utterance, from its file or its shard, equal to the last digit.

    Raises AudioError as `load_audio` does, and as `Shard.read` does.
    """
    if not isinstance(utterance, ShardedUtterance):
        return load_audio(utterance.audio, sample_rate, start=utterance.start, duration=utterance.duration)
    encoded = utterance.shard.read(utterance.offset, utterance.num_bytes)
    with tempfile.NamedTemporaryFile(prefix="asr-", suffix=utterance.audio.suffix) as file:
        file.write(encoded)
        file.flush()
        try:
            return load_audio(file.name, sample_rate, duration=utterance.duration)
        except AudioError as error:
            raise AudioError(str(error).replace(file.name, str(utterance.audio))) from error


def with_shards_ahead(
    utterances: Sequence[Utterance], batches: Iterable[Sequence[int]]
) -> Iterator[tuple[Sequence[int], tuple[Shard, ...]]]:
    """Every batch with the remote shards to fetch while it is being read: those needed one window later.

    To know them, as many batches ahead are taken as use the shards of one window.
    """
    shards, starts = _shards_of(utterances), shard_starts(utterances)
    window = shards[0].store.window if shards and shards[0].store is not None else 0
    if not window or starts is None:
        yield from ((batch, ()) for batch in batches)
        return
    order: list[int] = []  # numbers of shards as they come into use
    used: set[int] = set()
    waiting: deque[tuple[Sequence[int], range]] = deque()  # batches with the places in `order` that they begin

    def later(begun: range) -> tuple[Shard, ...]:
        return tuple(shards[order[place + window]] for place in begun if place + window < len(order))

    for batch in batches:
        begun = sorted(set((np.searchsorted(starts, batch, side="right") - 1).tolist()) - used)
        waiting.append((batch, range(len(order), len(order) + len(begun))))
        order += begun
        used.update(begun)
        while waiting and (not waiting[0][1] or waiting[0][1].stop + window <= len(order)):
            batch, places = waiting.popleft()
            yield batch, later(places)
    yield from ((batch, later(places)) for batch, places in waiting)


def _shards_of(utterances: Sequence[Utterance]) -> Sequence[Shard]:
    source = utterances.source if isinstance(utterances, Selection) else utterances
    return source.shards if isinstance(source, ShardTable) else ()


def fetch_in_background(shards: Sequence[Shard]) -> threading.Thread:
    """Begin to fetch shards; a reader that needs one earlier waits for it, and raises the error if there is one."""
    thread = threading.Thread(target=_fetch_all, args=(shards,), daemon=True)
    thread.start()
    return thread


def _fetch_all(shards: Sequence[Shard]) -> None:
    for shard in shards:
        try:
            shard.local_path()
        except (AsrError, OSError):
            return
