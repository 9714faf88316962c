"""How the numerical libraries wait, cache and allocate. They read most of it once, when they load."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SPINS = "2000"  # of a thread that waits for the others: some twenty microseconds
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX = -1, -2, -3, -4  # names of glibc's mallopt, from malloc.h
GROWTH = 64 << 20  # bytes by which the heap grows at least
LARGE = 1 << 20  # bytes of a block that is given back by itself
MANY = 65536  # such blocks, glibc's own limit


def settle_libraries() -> None:
    """Choose what the user's environment leaves open, before torch loads; see docs/performance.md for what it brings.

    Threads that are put to sleep wherever they meet, thousands of times in a training step, make it a fifth slower.
    Threads that spin for as long as OpenMP lets them make it twice as slow as soon as another process wants a core, be
    it only the loader's. A short while is enough for the one and costs little of the other.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")  # kernels of every batch shape, not the last few
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch warns of what users can neither see nor change
    _keep_freed_memory()


@contextmanager
def giving_memory_back() -> Iterator[None]:
    """Around work that makes large things once, as loading a model does: what it frees goes back to the system.

    Afterwards freed memory is kept again, if `settle_libraries` has said so. Where the C library is another than glibc,
    nothing happens.
    """
    if not _kept:
        yield
        return
    _trim()
    _mallopt((MMAP_THRESHOLD, LARGE), (MMAP_MAX, MANY), (TOP_PAD, 0))
    try:
        yield
    finally:
        _mallopt((MMAP_MAX, 0), (TOP_PAD, GROWTH))
        _trim()


def give_freed_memory_back() -> None:
    """Between two pieces of work whose needs differ: what the first one freed goes back to the system."""
    if _kept:
        _trim()


_kept: list[bool] = []  # not empty once freed memory is kept


def _keep_freed_memory() -> None:
    """Let this process keep memory that it frees, since it will soon ask for as much again.

    By default glibc gives large blocks back to the system, which clears every page anew: 80 000 page faults a training
    step, half of the time that features take. Where the C library is another, nothing happens.
    """
    if _mallopt((MMAP_MAX, 0), (TRIM_THRESHOLD, -1), (TOP_PAD, GROWTH)):
        _kept.append(True)


def _trim() -> None:
    """Give back what is free now."""
    ctypes.CDLL(None).malloc_trim(0)


def _mallopt(*settings: tuple[int, int]) -> bool:
    """Set what can be set; False where the C library is not glibc."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    for name, value in settings:
        mallopt(name, value)
    return True
