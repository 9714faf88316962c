"""Processes that recognise batches, each with a model of its own."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import torch

from asr.errors import WorkerError
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.segmentation import Span
from asr.types import Segment

_recognizer: Recognizer | None = None  # of a worker


@contextmanager
def worker_pool(num_workers: int, load: Callable[[], Recognizer], threads: int) -> Iterator[Executor]:
    """An executor for `recognize`: so many processes, each with what `load`, which is pickled, makes.

    Each uses `threads` CPU threads. WorkerError if one of them is killed.
    """
    spawn = multiprocessing.get_context("spawn")  # a fork would copy locks that threads hold
    pool = ProcessPoolExecutor(num_workers, spawn, _start, (load, threads))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise WorkerError(
            f"one of {num_workers} processes that recognise speech was killed, perhaps for want of memory; "
            "use fewer --workers, and run again: finished files are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def recognize(spans: Sequence[Span]) -> list[Segment | None]:
    """`Recognizer.recognize` of the process that this runs in."""
    assert _recognizer is not None
    return _recognizer.recognize(spans)


def _start(load: Callable[[], Recognizer], threads: int) -> None:
    global _recognizer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the pool
    torch.set_num_threads(threads)
    _recognizer = load()
