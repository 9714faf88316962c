"""Batches beside each other in one process: on a CPU two on one thread each are done sooner than one after the other.

A step of a decoder is hundreds of short operations, after each of which the threads that share it meet.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from asr.transcribe.recognized import Recognized
from asr.transcribe.requests import RequestOptions
from asr.transcribe.segmentation import Span

MAX_LANES = 4  # each holds a batch in memory
FEW_SPANS = 3  # that a batch holds at most behind which no other will follow, most likely


class Lanes:
    """An executor for up to `number` batches at once, which share the CPU threads of whoever makes this."""

    def __init__(self) -> None:
        self._threads = torch.get_num_threads()
        self.number = max(1, min(self._threads, MAX_LANES))
        self.executor = ThreadPoolExecutor(self.number, "asr lane")
        self._num_running = 0
        self._lock = threading.Lock()

    def sharing(
        self, recognize: Callable[[Sequence[Span], Sequence[RequestOptions]], list[Recognized]]
    ) -> Callable[[Sequence[Span], Sequence[RequestOptions]], list[Recognized]]:
        """The same function, that takes its share of the threads; all of them for a few spans on their own."""

        def shared(spans: Sequence[Span], options: Sequence[RequestOptions]) -> list[Recognized]:
            with self._running(len(spans)):
                return recognize(spans, options)

        return shared

    @contextmanager
    def _running(self, num_spans: int) -> Iterator[None]:
        with self._lock:
            self._num_running += 1
            is_alone = self._num_running == 1 and num_spans <= FEW_SPANS
        torch.set_num_threads(self._threads if is_alone else self._threads // self.number)
        try:
            yield
        finally:
            torch.set_num_threads(self._threads)  # some libraries keep one number for all threads
            with self._lock:
                self._num_running -= 1
