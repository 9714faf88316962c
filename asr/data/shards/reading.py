"""From sharded utterances to samples, and to the shards that will be needed next."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence

import numpy as np

from asr.audio.io import load_audio
from asr.data.shards.index import Shard, ShardedUtterance
from asr.errors import AsrError, AudioError
from asr.types import Utterance


def shard_numbers(utterances: Sequence[Utterance]) -> list[int] | None:
    """The shard that each utterance lies in; None for utterances that are files of their own."""
    numbers = [utterance.shard.number for utterance in utterances if isinstance(utterance, ShardedUtterance)]
    return numbers if numbers and len(numbers) == len(utterances) else None


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


def shards_ahead(utterances: Sequence[Utterance], batches: Sequence[Sequence[int]]) -> list[tuple[Shard, ...]]:
    """For every batch the remote shards to fetch while it is being read: those needed one window later."""
    remote = [utterance.shard if isinstance(utterance, ShardedUtterance) else None for utterance in utterances]
    if not any(shard is not None and shard.store is not None for shard in remote):
        return [()] * len(batches)
    place: dict[Shard, int] = {}  # in the order of first use
    new: list[list[int]] = []
    for batch in batches:
        first_used = {shard for index in batch if (shard := remote[index]) is not None and shard not in place}
        for shard in sorted(first_used, key=lambda shard: shard.number):
            place[shard] = len(place)
        new.append([place[shard] for shard in first_used])
    order = list(place)
    return [
        tuple(order[later] for number in numbers if (later := number + _window(order[number])) < len(order))
        for numbers in new
    ]


def fetch_in_background(shards: Sequence[Shard]) -> threading.Thread:
    """Begin to fetch shards; whoever needs one before it is here waits for it, and meets the error if there is one."""
    thread = threading.Thread(target=_fetch_all, args=(shards,), daemon=True)
    thread.start()
    return thread


def _fetch_all(shards: Sequence[Shard]) -> None:
    for shard in shards:
        try:
            shard.local_path()
        except (AsrError, OSError):
            return


def _window(shard: Shard) -> int:
    return shard.store.window if shard.store is not None else 0
