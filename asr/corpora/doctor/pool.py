"""Examines many audio files in parallel; neither a damaged file nor a decoder that crashes on one stops it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool

from asr.corpora.doctor.audio import AudioFault, AudioFile, Measurement, examine
from asr.system.processes import process_pool

Result = tuple[int, Measurement | AudioFault]

CHUNK_SECONDS = 120.0  # of audio handed to a process at once, so that hours of short files are not hours of messages
CHUNK_FILES = 32
QUEUED = 3  # chunks per process: one in work, the next ones waiting


def examine_all(audio_files: Sequence[AudioFile], workers: int = 1) -> Iterator[list[Result]]:
    """The results of `examine` for all audio files, some at a time and in any order.

    With one worker the work is done in this process; a decoder that crashes then takes it along. With more, each is a
    process of its own, and rows of a file whose decoding ends a process get the fault `unreadable`.
    """
    if workers == 1 or len(audio_files) <= 1:
        for audio_file in audio_files:
            yield examine(audio_file)
        return
    waiting = deque(_chunks(audio_files))
    running: dict[Future[list[Result]], Sequence[AudioFile]] = {}
    while waiting:
        try:
            yield from _drain(waiting, running, min(workers, len(waiting)))
        except BrokenProcessPool:
            suspects = [audio_file for chunk in running.values() for audio_file in chunk]
            running.clear()
            for audio_file in suspects:
                yield _alone(audio_file)


def _drain(
    waiting: deque[Sequence[AudioFile]], running: dict[Future[list[Result]], Sequence[AudioFile]], workers: int
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


def _alone(audio_file: AudioFile) -> list[Result]:
    """One audio_file in a process of its own, which it may take down."""
    with process_pool(1, _silence_decoders) as pool:
        try:
            return pool.submit(_examine_chunk, [audio_file]).result()
        except BrokenProcessPool:
            fault = AudioFault("unreadable", "decoding it ended the process; convert it to wav or flac")
            return [(stretch.row, fault) for stretch in audio_file.stretches]


def _examine_chunk(audio_files: Sequence[AudioFile]) -> list[Result]:
    return [result for audio_file in audio_files for result in examine(audio_file)]


def _chunks(audio_files: Iterable[AudioFile]) -> Iterator[Sequence[AudioFile]]:
    chunk: list[AudioFile] = []
    seconds = 0.0
    for audio_file in audio_files:
        chunk.append(audio_file)
        seconds += audio_file.seconds
        if seconds >= CHUNK_SECONDS or len(chunk) == CHUNK_FILES:
            yield chunk
            chunk, seconds = [], 0.0
    if chunk:
        yield chunk


def _silence_decoders() -> None:
    """The mp3 decoder comments on files on standard error, where progress is shown; faults are returned as values."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
