"""Processes that recognise batches, each with a model of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import torch

from asr.errors import WorkerError
from asr.system.processes import process_pool
from asr.transcribe.engine import Engine
from asr.transcribe.recognized import Recognized
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.requests import RequestOptions
from asr.transcribe.segmentation import Span

_recognizer: Recognizer | None = None  # of a worker


@contextmanager
def worker_engine(
    num_workers: int, load: Callable[[], Recognizer], threads: int, recognizer: Recognizer
) -> Iterator[Engine]:
    """An engine that recognises as `recognizer` does, in so many processes of `threads` CPU threads.

    Each has what `load`, which is pickled, makes. WorkerError if one of them is killed.
    """
    with (
        worker_pool(num_workers, load, threads) as pool,
        Engine(
            recognizer.segmenter,
            recognize,
            max_batch_seconds=recognizer.max_batch_seconds,
            max_batch_spans=recognizer.max_batch_spans,
            executor=pool,
            max_in_flight=2 * num_workers,
            check=recognizer.finds_language,
        ) as engine,
    ):
        yield engine


@contextmanager
def worker_pool(num_workers: int, load: Callable[[], Recognizer], threads: int) -> Iterator[Executor]:
    """An executor for `recognize`: so many processes, each with what `load`, which is pickled, makes.

    Each uses `threads` CPU threads. WorkerError if one of them is killed.
    """
    try:
        with process_pool(num_workers, _start, (load, threads)) as pool:
            yield pool
    except BrokenProcessPool as error:
        raise WorkerError(
            f"one of {num_workers} processes that recognise speech was killed, perhaps for want of memory; "
            "use fewer --workers, and run again: finished files are kept"
        ) from error


def recognize(spans: Sequence[Span], options: Sequence[RequestOptions]) -> list[Recognized]:
    """`Recognizer.recognize` of the process that this runs in."""
    assert _recognizer is not None
    return _recognizer.recognize(spans, options)


def _start(load: Callable[[], Recognizer], threads: int) -> None:
    global _recognizer
    torch.set_num_threads(threads)
    _recognizer = load()
