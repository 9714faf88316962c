"""Recordings of every kind: files and stretches of them, bytes, arrays, and what is still being spoken."""

from __future__ import annotations

import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import numpy as np
import soxr
from torch import Tensor

from asr.audio.io import AudioInfo, audio_info, read_blocks
from asr.audio.raw import RawFormat
from asr.audio.resample import resample
from asr.audio.samples import as_waveform, warn_if_unscaled
from asr.errors import AudioError

Audio = str | Path | bytes | BinaryIO | np.ndarray | Tensor | Sequence[float]
"""A file by its path, its contents or opened in binary mode, or samples (num_samples,) of floats in [-1, 1]."""


@runtime_checkable
class Recording(Protocol):
    """Audio that is read block by block."""

    @property
    def name(self) -> str:
        """What people know it by."""
        ...

    def num_channels(self) -> int:
        """AudioError where it cannot be read."""
        ...

    def blocks(self, sample_rate: int, block_seconds: float, channel: int | None = None) -> Iterator[np.ndarray]:
        """The samples (N,) float32 at `sample_rate` in blocks of some `block_seconds`, which together are all of it.

        `channel` counts from 0; None is the mean of all. AudioError where it cannot be read, or not further.
        """
        ...

    @property
    def has_block(self) -> bool:
        """Whether `blocks` would give the next one without waiting for somebody to speak."""
        ...


@dataclass(frozen=True)
class FileRecording:
    """An audio file or a stretch of one, and its place below the folder or glob that named it."""

    audio: Path
    relative: Path  # without suffix where there is an `id`
    id: str | None = None  # of a row of a manifest; "stdin" for standard input
    start: float = 0.0  # seconds
    duration: float | None = None  # seconds; None is up to the end
    raw: RawFormat | None = None  # of a file without a header
    is_copy: bool = False  # of standard input, in a file that will be gone
    partial: bool = False  # `blocks` gives what can be read before it raises why there is no more

    has_block = True

    @property
    def name(self) -> str:
        """The path, or the id of a row of a manifest."""
        return str(self.audio) if self.id is None else self.id

    @property
    def stem(self) -> Path:
        """Its place among the outputs, but for the suffix."""
        return self.relative.with_suffix("") if self.id is None else self.relative

    def info(self) -> AudioInfo:
        """`asr.audio.io.audio_info` of the whole file."""
        with self._named_errors():
            return audio_info(self.audio, self.raw)

    def num_channels(self) -> int:
        """As the header says."""
        return self.info().num_channels

    def blocks(self, sample_rate: int, block_seconds: float, channel: int | None = None) -> Iterator[np.ndarray]:
        """`asr.audio.io.read_blocks` of the stretch; its errors name the row of a manifest, or standard input."""
        faults: list[AudioError] = []
        with self._named_errors():
            yield from read_blocks(
                self.audio,
                sample_rate,
                block_seconds,
                channel=channel,
                start=self.start,
                duration=self.duration,
                raw=self.raw,
                partial=faults.append if self.partial else None,
            )
            if faults:
                raise faults[0]

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except AudioError as error:
            if self.is_copy:
                raise AudioError(f"standard input: {str(error).removeprefix(f'{self.audio}: ')}") from error
            if self.id is not None:
                raise AudioError(f"utterance '{self.id}': {error}") from error
            raise


@dataclass(frozen=True)
class BytesRecording:
    """The contents of an audio file of any format. They are read from a temporary file: seeking needs one."""

    content: bytes
    name: str = "bytes"

    has_block = True

    def num_channels(self) -> int:
        """As the header says."""
        with self._file() as path:
            return audio_info(path).num_channels

    def blocks(self, sample_rate: int, block_seconds: float, channel: int | None = None) -> Iterator[np.ndarray]:
        """See `Recording`."""
        with self._file() as path:
            yield from read_blocks(path, sample_rate, block_seconds, channel=channel)

    @contextmanager
    def _file(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="asr-") as folder:
            path = Path(folder, "audio")
            try:
                path.write_bytes(self.content)
                yield path
            except OSError as error:
                fault = f"{self.name}: cannot be kept in {folder} ({error.strerror})"
                raise AudioError(f"{fault}; free space, or name another folder in TMPDIR") from error
            except AudioError as error:
                raise AudioError(f"{self.name}: {str(error).removeprefix(f'{path}: ')}") from error


@dataclass(frozen=True)
class ArrayRecording:
    """A waveform (num_samples,) of floats in [-1, 1] at `sample_rate`.

    A tensor or a list will do. Raises AudioError as `as_waveform` does.
    """

    waveform: Any  # an array once it is checked
    sample_rate: int  # Hz
    name: str = "array"

    has_block = True

    def __post_init__(self) -> None:
        waveform = as_waveform(self.waveform, self.sample_rate)
        warn_if_unscaled(self.name, float(np.abs(waveform).max(initial=0.0)))
        object.__setattr__(self, "waveform", waveform)

    def num_channels(self) -> int:
        """Always one."""
        return 1

    def blocks(self, sample_rate: int, block_seconds: float, channel: int | None = None) -> Iterator[np.ndarray]:
        """The array as a file would arrive."""
        if channel:
            raise AudioError(f"{self.name}: there is no channel {channel}; it has only one")
        waveform = resample(self.waveform.astype(np.float32, copy=False), self.sample_rate, sample_rate)
        step = round(block_seconds * sample_rate)
        yield from (waveform[first : first + step] for first in range(0, len(waveform), step))


class LiveRecording:
    """A waveform that arrives bit by bit; `on_change` is called, without arguments, when `has_block` becomes true."""

    name = "stream"

    def __init__(self, sample_rate: int, on_change: Callable[[], None]) -> None:
        self.sample_rate = sample_rate  # Hz
        self._on_change = on_change
        self._lock = threading.Lock()
        self._waiting: deque[np.ndarray] = deque()
        self._is_finished = False

    @property
    def has_block(self) -> bool:
        """Whether samples wait, or no more will come."""
        with self._lock:
            return bool(self._waiting) or self._is_finished

    @property
    def is_finished(self) -> bool:
        """Whether no more samples will come, though some may wait."""
        with self._lock:
            return self._is_finished

    @property
    def waiting_seconds(self) -> float:
        """How much has been pushed and not yet read."""
        with self._lock:
            return sum(map(len, self._waiting)) / self.sample_rate

    def push(self, samples: np.ndarray) -> None:
        """Add samples (N,) of floats in [-1, 1]; AudioError for anything else."""
        samples = as_waveform(samples, self.sample_rate)
        with self._lock:
            if self._is_finished:
                raise AudioError("the stream is finished; open another one")
            self._waiting.append(samples.astype(np.float32))  # a copy: the caller may use the array again
        self._on_change()

    def finish(self) -> None:
        """No more samples will come."""
        with self._lock:
            self._is_finished = True
        self._on_change()

    def num_channels(self) -> int:
        """Always one."""
        return 1

    def blocks(self, sample_rate: int, block_seconds: float, channel: int | None = None) -> Iterator[np.ndarray]:
        """What has been pushed so far, as long as `has_block`; the end comes when the stream is finished."""
        if channel:
            raise AudioError(f"{self.name}: there is no channel {channel}; it has only one")
        same = sample_rate == self.sample_rate
        resampler = None if same else soxr.ResampleStream(self.sample_rate, sample_rate, 1, dtype="float32")
        while True:
            with self._lock:
                samples = self._waiting.popleft() if self._waiting else None
            if samples is None:
                break
            yield samples if resampler is None else resampler.resample_chunk(samples)
        if resampler is not None:
            yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
