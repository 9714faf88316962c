"""Processes that work for this one, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from asr.errors import WorkerError

Result = TypeVar("Result")


def num_cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def process_pool(
    workers: int, initializer: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """A pool of `workers` processes, killed when an error or Ctrl-C ends the block: they must hold nothing of value.

    They are spawned, not forked: this process may have threads (of torch), which a fork would leave half-way. They do
    not receive Ctrl-C, which a terminal sends to all processes.
    """
    before = set(multiprocessing.active_children())
    pool = _UninterruptedPool(workers, multiprocessing.get_context("spawn"), initializer, arguments)
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - before:
            process.kill()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def share_out(
    task: Callable[..., Result], shared: tuple[Any, ...], items: Iterable[tuple[Any, ...]], workers: int, purpose: str
) -> Iterator[Result]:
    """`task(*shared, *item)` for every item, in order, in `workers` processes; in this one if that is 1.

    `task` is a function of a module; `shared` travels to each process once. No more than two items a process are under
    way, so results do not pile up. WorkerError if a process is killed; the message says what it does: "`purpose`"
    ("reads a file").
    """
    if workers == 1:
        for item in items:
            yield task(*shared, *item)
        return
    try:
        with process_pool(workers, _take, (task, shared)) as pool:
            running: deque[Future[Result]] = deque()
            for item in items:
                running.append(pool.submit(_work_on, *item))
                if len(running) > 2 * workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
    except BrokenProcessPool as error:
        raise WorkerError(
            f"a process that {purpose} was killed, perhaps because memory was short; free some"
        ) from error


_taken: tuple[Callable[..., Any], tuple[Any, ...]] | None = None  # task and shared arguments, in a process of the pool


def _take(task: Callable[..., Any], shared: tuple[Any, ...]) -> None:
    global _taken
    _taken = task, shared


def _work_on(*item: Any) -> Any:
    assert _taken is not None
    task, shared = _taken
    return task(*shared, *item)


class _UninterruptedPool(ProcessPoolExecutor):
    """Starts its processes, as they are needed, with SIGINT blocked."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        with _sigint_blocked():
            return super().submit(function, *arguments, **named)


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Processes started inside never see Ctrl-C; this one sees it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
