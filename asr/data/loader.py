"""Batches from worker processes: the same ones, in the same order, whatever the number of workers."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asr.data.dataset import SpeechDataset, collate
from asr.data.sampler import RememberingSampler, Sampler
from asr.data.shards.index import Shard
from asr.data.shards.reading import fetch_in_background, with_shards_ahead
from asr.errors import AsrError, AudioError, WorkerError
from asr.types import Batch, Example, Targets, Unreadable


class Loader:
    """Loads, augments and pads the sampler's batches ahead of the consumer.

    Workers start with the first epoch and live as long as the loader. `num_workers=0` loads in this process. An
    `AsrError` in a worker is raised here as it was, where its batch would have come. The global random state is left
    alone. With `num_views` above 1 a batch holds that many views of its utterances: all rows of the first view, then
    all of the second. With `skip_unreadable` an utterance whose audio cannot be read raises no AudioError: its batch
    names it and goes without. `start_method` is torch's default unless given ("fork", "spawn").
    """

    def __init__(
        self,
        dataset: SpeechDataset,
        sampler: Sampler,
        num_workers: int = 0,
        *,
        num_views: int = 1,
        skip_unreadable: bool = False,
        pin_memory: bool = False,
        start_method: str | None = None,
    ) -> None:
        self.waited_seconds = 0.0  # how long the consumer has waited for batches since the epoch began
        self._dataset = dataset
        self._sampler = RememberingSampler(sampler)
        self._orders = _Orders()
        self._batches: DataLoader[_Delivery] = DataLoader(
            _BatchDataset(dataset, num_views, skip_unreadable),
            batch_size=None,
            sampler=self._orders,
            num_workers=num_workers,
            collate_fn=_as_it_is,
            pin_memory=pin_memory,
            worker_init_fn=_live_and_die_with_the_parent,
            multiprocessing_context=start_method if num_workers else None,
            persistent_workers=num_workers > 0,
            generator=torch.Generator(),  # else torch draws worker seeds from the global generator
        )

    def num_batches(self, epoch: int) -> int:
        """How many batches an epoch has."""
        return len(self._sampler.batches(epoch))

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The epoch's batches from number `start_batch` on. One epoch at a time; a new one ends the one before."""
        self.waited_seconds = 0.0
        batches = self._sampler.batches(epoch)
        numbers = range(start_batch, len(batches))
        planned = with_shards_ahead(self._dataset.utterances, (batches[number] for number in numbers))
        self._orders.waiting = (_Order(epoch, *order) for order in planned)
        with _clear_worker_errors(), _ended_at_exit():
            deliveries = iter(self._batches)
        for _ in numbers:
            asked = time.perf_counter()
            with _clear_worker_errors():
                delivery = next(deliveries)
            self.waited_seconds += time.perf_counter() - asked
            if delivery.error is not None:
                try:
                    raise delivery.error
                finally:
                    del delivery  # the traceback holds this frame: a cycle, and workers that a collection ends take 5 s
            assert delivery.batch is not None
            yield delivery.batch


@contextmanager
def _clear_worker_errors() -> Iterator[None]:
    """Torch says only that a worker is gone."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise WorkerError(
            f"a loader process was killed ({error}), perhaps because memory was short; free some, or set "
            "data.num_workers to 0"
        ) from error


@contextmanager
def _ended_at_exit() -> Iterator[None]:
    """Processes started inside are killed when this one ends: they hold nothing, and ignore SIGTERM."""
    before = multiprocessing.active_children()
    yield
    started = [process for process in multiprocessing.active_children() if process not in before]
    if started:
        atexit.register(_kill, started)


def _kill(processes: Sequence[BaseProcess]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch would complain that a worker died
    for process in processes:
        process.kill()


@dataclass(frozen=True)
class _Order:
    """What a worker is asked for."""

    epoch: int
    indices: Sequence[int]
    ahead: Sequence[Shard]  # to be fetched in the meantime, for orders to come


class _Orders:
    """What the workers are to load: a new stream of orders for every epoch, which torch asks this for."""

    def __init__(self) -> None:
        self.waiting: Iterable[_Order] = ()

    def __iter__(self) -> Iterator[_Order]:
        return iter(self.waiting)


@dataclass(frozen=True)
class _Delivery:
    """What a worker sends: a batch or the error of its input, since torch would bury an exception in a traceback.

    Between processes tensors travel as arrays, by value. Torch would share their memory, which fails where /dev/shm is
    small (containers), and a worker would print a traceback when Ctrl-C cuts the exchange of file descriptors short.
    """

    batch: Batch | None = None
    error: AsrError | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self.batch is None:
            return _Delivery, (None, self.error)
        parts = {field.name: getattr(self.batch, field.name) for field in fields(self.batch)}
        arrays = {name: part.numpy() for name, part in parts.items() if isinstance(part, Tensor)}
        further = {name: (each.tokens.numpy(), each.lens.numpy()) for name, each in self.batch.further.items()}
        return _unpack, ({**parts, **arrays, "further": further},)

    def pin_memory(self) -> _Delivery:
        """Called by torch, in a thread of its own."""
        if self.batch is None:
            return self
        pinned = replace(
            self.batch,
            features=self.batch.features.pin_memory(),
            feature_lens=self.batch.feature_lens.pin_memory(),
            tokens=self.batch.tokens.pin_memory(),
            token_lens=self.batch.token_lens.pin_memory(),
            further={
                name: Targets(each.tokens.pin_memory(), each.lens.pin_memory())
                for name, each in self.batch.further.items()
            },
        )
        return _Delivery(pinned)


class _BatchDataset(Dataset[_Delivery]):
    """A torch dataset whose items are whole batches."""

    def __init__(self, dataset: SpeechDataset, num_views: int, skip_unreadable: bool) -> None:
        self.dataset = dataset
        self.num_views = num_views
        self.skip_unreadable = skip_unreadable

    def __getitem__(self, order: _Order) -> _Delivery:
        if order.ahead:
            fetch_in_background(order.ahead)
        try:
            return _Delivery(self._load(order))
        except AsrError as error:
            return _Delivery(error=error)

    def _load(self, order: _Order) -> Batch:
        rows: list[list[Example]] = []
        unreadable: list[Unreadable] = []
        for index in order.indices:
            try:
                rows.append(self.dataset.load_views(index, order.epoch, self.num_views))
            except AudioError as error:
                if not self.skip_unreadable:
                    raise
                unreadable.append(Unreadable(self.dataset.utterances[index].id, str(error)))
        batch = collate([row[view] for view in range(self.num_views) for row in rows])
        return replace(batch, unreadable=tuple(unreadable), num_views=self.num_views)


def _unpack(parts: dict[str, Any]) -> _Delivery:
    """The other side of `_Delivery.__reduce__`."""
    tensors = {name: torch.from_numpy(part) for name, part in parts.items() if isinstance(part, np.ndarray)}
    further = {name: Targets(*map(torch.from_numpy, pair)) for name, pair in parts["further"].items()}
    return _Delivery(Batch(**{**parts, **tensors, "further": further}))


def _as_it_is(delivery: Any) -> Any:
    return delivery


def _live_and_die_with_the_parent(_worker: int) -> None:
    """Ctrl-C reaches every process of a terminal, a cluster's SIGTERM every process of a job; only the parent is to
    act on them: it finishes its step, saves, and ends the workers. Should it be killed, they end by themselves.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """Torch's own check ends in waiting for somebody to take the batches that are ready, and meanwhile other ranks
    take a killed parent for alive, since its connections are open in here.
    """
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
