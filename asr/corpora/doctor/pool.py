"""Examines many recordings in parallel; neither a damaged file nor a decoder that crashes on one stops it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool

from asr.corpora.doctor.audio import Fault, Recording, Sound, examine
from asr.system.processes import process_pool

Result = tuple[int, Sound | Fault]

CHUNK_SECONDS = 120.0  # of audio handed to a process at once, so that hours of short files are not hours of messages
CHUNK_FILES = 32
QUEUED = 3  # chunks per process: one in work, the next ones waiting


def examine_all(recordings: Sequence[Recording], workers: int = 1) -> Iterator[list[Result]]:
    """The results of `examine` for all recordings, some at a time and in any order.

    With one worker the work is done in this process; a decoder that crashes then takes it along. With more, each is a
    process of its own, and rows of a file whose decoding ends a process get the fault `unreadable`.
    """
    if workers == 1 or len(recordings) <= 1:
        for recording in recordings:
            yield examine(recording)
        return
    waiting = deque(_chunks(recordings))
    running: dict[Future[list[Result]], Sequence[Recording]] = {}
    while waiting:
        try:
            yield from _drain(waiting, running, min(workers, len(waiting)))
        except BrokenProcessPool:
            suspects = [recording for chunk in running.values() for recording in chunk]
            running.clear()
            for recording in suspects:
                yield _alone(recording)


def _drain(
    waiting: deque[Sequence[Recording]], running: dict[Future[list[Result]], Sequence[Recording]], workers: int
) -> Iterator[list[Result]]:
    """Work through `waiting`; `running` tells what had been handed out if a process dies."""
    with process_pool(workers, _silence_decoders) as pool:
        while waiting or running:
            while waiting and len(running) < QUEUED * workers:
                chunk = waiting.popleft()
                running[pool.submit(_examine_chunk, chunk)] = chunk
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                results = future.result()
                del running[future]
                yield results


def _alone(recording: Recording) -> list[Result]:
    """One recording in a process of its own, which it may take down."""
    with process_pool(1, _silence_decoders) as pool:
        try:
            return pool.submit(_examine_chunk, [recording]).result()
        except BrokenProcessPool:
            fault = Fault("unreadable", "decoding it ended the process; convert it to wav or flac")
            return [(stretch.row, fault) for stretch in recording.stretches]


def _examine_chunk(recordings: Sequence[Recording]) -> list[Result]:
    return [result for recording in recordings for result in examine(recording)]


def _chunks(recordings: Iterable[Recording]) -> Iterator[Sequence[Recording]]:
    chunk: list[Recording] = []
    seconds = 0.0
    for recording in recordings:
        chunk.append(recording)
        seconds += recording.seconds
        if seconds >= CHUNK_SECONDS or len(chunk) == CHUNK_FILES:
            yield chunk
            chunk, seconds = [], 0.0
    if chunk:
        yield chunk


def _silence_decoders() -> None:
    """The mp3 decoder comments on files on standard error, where progress is shown; faults are returned as values."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
