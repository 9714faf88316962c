"""Processes that work for this one, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any


def num_cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def process_pool(
    workers: int, initializer: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """So many processes, killed when the block is left by an error or by Ctrl-C: they must hold nothing of value.

    They are spawned, not forked: this process may have threads (of torch), which a fork would leave half-way. Ctrl-C,
    which a terminal sends to all processes, they never see.
    """
    before = set(multiprocessing.active_children())
    pool = _DeafPool(workers, multiprocessing.get_context("spawn"), initializer, arguments)
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - before:
            process.kill()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


class _DeafPool(ProcessPoolExecutor):
    """Starts its processes, as they are needed, deaf to Ctrl-C."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        with _deaf_to_ctrl_c():
            return super().submit(function, *arguments, **named)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes started inside never see Ctrl-C; this one sees it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
