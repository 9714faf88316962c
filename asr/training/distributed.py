"""Processes that train one model together, as `torchrun` starts them; a process by itself is a world of one.

The trainer adds up gradients with one explicit all-reduce after each rank's own backward. It does not use torch's
DistributedDataParallel, which communicates in the middle of backward: there a rank without rows, a backward that is
repeated for want of memory, a loss that is finite on some ranks only and parameters that a batch does not use are
special cases, each with a way to hang. Here none of them is: between two collectives ranks do not depend on each other.

What the hosts must know is exchanged by gloo between processors, gradients by NCCL where there are GPUs, so that
agreement never waits for a GPU. Nothing is pickled: objects are sent as JSON, tensors as their bytes.
"""

from __future__ import annotations

import json
import os
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from asr.errors import ConfigError, TrainingError
from asr.system.display import Display
from asr.system.runtime import resolve_device
from asr.training.stopping import outlive_launcher

TIMEOUT = timedelta(minutes=30)  # a killed rank is noticed at once; this is for one that is frozen or cut off
CPU = torch.device("cpu")
BUCKET_BYTES = 64 * 2**20  # reduced at a time, and so the additional memory it takes
FAILURES = "failures"  # counter in the store


@dataclass(frozen=True)
class World:
    """This process, and the others that train with it. Alone, every method below returns its argument.

    All ranks must call the same methods in the same order. TrainingError if another rank is gone.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = CPU
    store: Store | None = None  # of keys and values, for messages outside of collectives; None in a world of one

    @property
    def is_main(self) -> bool:
        """Whether this is the rank that writes, logs and shows anything."""
        return self.rank == 0

    def display(self) -> Display:
        """The display of a run; of other ranks than the main one nothing is shown."""
        return Display() if self.is_main else Display(open(os.devnull, "w", encoding="utf-8"))

    def barrier(self) -> None:
        """Return when all ranks are here."""
        self.all_reduce(0)

    def all_reduce(self, *numbers: float) -> list[float]:
        """The sums of these numbers over all ranks. It waits for their hosts but for no GPU."""
        if self.size == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64)
        with _lost_rank_named():
            dist.all_reduce(sums)
        return sums.tolist()

    def all_reduce_(self, tensors: Iterable[Tensor]) -> None:
        """Replace every tensor by its sum over all ranks. On a GPU the host does not wait for it."""
        if self.size == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            with _lost_rank_named():
                dist.all_reduce(flat)
            for tensor, total in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(total.view_as(tensor))

    def all_gather(self, value: Any) -> list[Any]:
        """The values of all ranks in order, each of what JSON can hold."""
        if self.size == 1:
            return [value]
        own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lens = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        with _lost_rank_named():
            dist.all_gather(lens, torch.tensor([len(own)]))
            longest = int(max(lens))
            everything = [torch.empty(longest, dtype=torch.uint8) for _ in lens]
            dist.all_gather(everything, torch.nn.functional.pad(own, (0, longest - len(own))))
        return [json.loads(row[: int(length)].numpy().tobytes()) for row, length in zip(everything, lens, strict=True)]

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, of what JSON can hold."""
        return self.all_gather(value if self.is_main else None)[0]

    def broadcast_(self, tensors: Iterable[Tensor]) -> None:
        """Replace every tensor by rank 0's."""
        if self.size == 1:
            return
        for tensor in tensors:
            sent = tensor.detach().contiguous().flatten().view(torch.uint8)
            with _lost_rank_named():
                dist.broadcast(sent, 0)
            if not self.is_main:
                tensor.detach().copy_(sent.view(tensor.dtype).view(tensor.shape))

    def broadcast_tensors(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rank 0's CPU tensors by name; the argument of the others is not used."""
        if self.size == 1:
            return tensors
        kinds = self.broadcast([(name, list(tensor.shape), str(tensor.dtype)) for name, tensor in tensors.items()])
        if not self.is_main:
            tensors = {
                name: torch.empty(shape, dtype=getattr(torch, dtype.removeprefix("torch.")))
                for name, shape, dtype in kinds
            }
        self.broadcast_(tensors.values())
        return tensors

    @contextmanager
    def main_first(self, name: str) -> Iterator[None]:
        """Run the block on rank 0 first, then, once that has ended well, on the others.

        They wait without a time limit, and raise TrainingError when rank 0 fails. A `name` can be used once.
        """
        if self.store is not None and not self.is_main:
            while not _is_set(self.store, name):
                if _is_set(self.store, FAILURES):
                    raise TrainingError("another rank has failed")
                time.sleep(0.1)
        yield
        if self.store is not None and self.is_main:
            self.store.set(name, "done")

    def is_first_to_fail(self) -> bool:
        """Whether no other rank has failed before this one; to be called once, by a rank that has."""
        if self.store is None:
            return True
        try:
            return bool(self.store.add(FAILURES, 1) == 1)
        except RuntimeError:  # the store is gone, with the rank or the launcher that kept it
            return True


ALONE = World()


@contextmanager
def joined(device: str) -> Iterator[World]:
    """The world this process was started into: of one rank, unless by `torchrun`. `device` is a name, or `auto`.

    On GPUs each rank of a machine has its own. Of errors that end the block only that of the rank which failed first
    leaves it; the other ranks, which fail because of it, end silently, with exit status 1. Raises ConfigError where
    the device does not exist or cannot be shared out.
    """
    if "RANK" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        yield World(device=resolve_device(device))
        return
    world = _world_of_torchrun()
    try:
        yield _connected(world, resolve_device(device))
    except BaseException as error:
        outlive_launcher()  # before the others learn of it and end
        if not world.is_first_to_fail():
            raise SystemExit(1) from error
        raise
    dist.destroy_process_group()


def _world_of_torchrun() -> World:
    """The world whose address torchrun has put into the environment."""
    try:
        store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
    except ValueError as error:
        raise ConfigError(f"RANK and WORLD_SIZE are set, but {error}; start with torchrun, or unset them") from error
    if rank:
        warnings.simplefilter("ignore")  # rank 0 shows the same ones
    return World(rank, size, store=PrefixStore("asr", store))


def _connected(world: World, device: torch.device) -> World:
    """The same world, each rank with its device and connected to all others."""
    device = _own_device(device, int(os.environ.get("LOCAL_RANK", world.rank)))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    with _lost_rank_named():
        dist.init_process_group(backend, store=world.store, rank=world.rank, world_size=world.size, timeout=TIMEOUT)
    return replace(world, device=device)


def _own_device(device: torch.device, local_rank: int) -> torch.device:
    """The GPU of a rank, or the processor, which all share."""
    if device.type != "cuda":
        return device
    if ":" in str(device):
        raise ConfigError(f"device '{device}' is one GPU, but every rank needs its own; use --device cuda")
    if local_rank >= torch.cuda.device_count():
        raise ConfigError(
            f"rank {local_rank} of this machine has no GPU, there are {torch.cuda.device_count()}; lower "
            "--nproc-per-node, or use --device cpu"
        )
    return torch.device("cuda", local_rank)


@contextmanager
def _lost_rank_named() -> Iterator[None]:
    """Torch reports a rank that is gone by the error of its connection; here it is a TrainingError."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = re.sub(r"^\[\S+\] ", "", str(error).strip()).partition("\n")[0].partition(". ")[0]  # no source file
        raise TrainingError(
            f"a rank was lost, killed or cut off ({reason}); start the same command with --resume to continue "
            "from the newest checkpoint"
        ) from error


def _is_set(store: Store, name: str) -> bool:
    with _lost_rank_named():
        return bool(store.check([name]))


def _buckets(tensors: Iterable[Tensor]) -> Iterator[Sequence[Tensor]]:
    """Neighbours of one dtype and device, BUCKET_BYTES at most together, or one that is larger by itself."""
    bucket: list[Tensor] = []
    num_bytes = 0
    for tensor in tensors:
        if bucket and (
            (tensor.dtype, tensor.device) != (bucket[0].dtype, bucket[0].device)
            or num_bytes + tensor.nbytes > BUCKET_BYTES
        ):
            yield bucket
            bucket, num_bytes = [], 0
        bucket.append(tensor)
        num_bytes += tensor.nbytes
    if bucket:
        yield bucket
