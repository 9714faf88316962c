"""What alignment needs of a recording of any length, gathered window by window: CTC log-probabilities and loudness.

A window is cut at a quiet point and encoded with some seconds of what is before and after, so that its edges do not
show; frames of all windows lie on one grid. Log-probabilities go to a temporary file as soon as they are many: an hour
of a model with 5000 tokens makes 1.8 GB.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from asr.alignment.forced import with_wildcard
from asr.alignment.timing import HOP, loudness
from asr.bundle.bundle import Bundle
from asr.bundle.recognition import encode_waveforms
from asr.decoding.base import ctc_of
from asr.errors import AsrError
from asr.transcribe.long_form import Window, split_windows

WINDOW_SECONDS = 30.0  # encoded at once, at most
CONTEXT_SECONDS = 2.0  # encoded before and after, too
SPOOL_BYTES = 1 << 28  # log-probabilities kept in memory
BLOCK_HOPS = 1000  # of loudness, read at once


@dataclass(frozen=True)
class EncodedRecording:
    """What a model makes of a recording."""

    log_probs: StoredLogProbs
    loudness: np.ndarray  # dB, of asr.alignment.timing.loudness
    duration: float  # seconds


class StoredLogProbs:
    """Log-probabilities (S, V) float32, added at the end, read by slices of frames, and let go on leaving `with`."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)
        self._num_frames = 0
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def append(self, rows: np.ndarray) -> None:
        """Add frames (S, V); AsrError where the disk is full."""
        self._width = rows.shape[1]
        self._num_frames += len(rows)
        self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(np.ascontiguousarray(rows, dtype=np.float32).tobytes())
        except OSError as error:
            where = f"{tempfile.gettempdir()}: cannot keep the model's output there"
            raise AsrError(f"{where} ({error.strerror}); free space or set TMPDIR to another folder") from error

    def __len__(self) -> int:
        return self._num_frames

    def __getitem__(self, frames: slice, /) -> np.ndarray:
        first, last, _ = frames.indices(self._num_frames)
        frame_bytes = self._width * np.dtype(np.float32).itemsize
        self._file.seek(first * frame_bytes)
        content = bytearray(self._file.read(max(0, last - first) * frame_bytes))
        return np.frombuffer(content, dtype=np.float32).reshape(max(0, last - first), self._width)


def block_samples(sample_rate: int) -> int:
    """How much of a recording `encode_recording` takes at once."""
    return BLOCK_HOPS * round(HOP * sample_rate)


def encode_recording(bundle: Bundle, blocks: Iterable[np.ndarray], log_probs: StoredLogProbs) -> EncodedRecording:
    """A recording in blocks of `block_samples`, the last one shorter; its log-probabilities, with a wildcard, are kept
    in `log_probs`."""
    rate = bundle.frontend.sample_rate
    meter = _Loudness(rate)
    spans = split_windows(meter.passing(blocks), rate, WINDOW_SECONDS)
    for (before, span), (_, after) in itertools.pairwise(itertools.pairwise(itertools.chain([None], spans, [None]))):
        assert span is not None
        log_probs.append(_encode_span(bundle, before, span, after))
    return EncodedRecording(log_probs, meter.values(), meter.num_samples / rate)


@torch.inference_mode()
def _encode_span(bundle: Bundle, before: Window | None, span: Window, after: Window | None) -> np.ndarray:
    """Log-probabilities (S, V) of the frames that begin in a span, encoded with its neighbours as context."""
    rate = bundle.frontend.sample_rate
    frame_samples = round(bundle.frame_seconds * rate)
    context = round(CONTEXT_SECONDS * rate / frame_samples)
    begin, end = round(span.start * rate), round(span.end * rate)
    first, last = round(begin / frame_samples), round(end / frame_samples) if after else None
    encoded_from = max(0, first - context)
    waveform = span.waveform
    if before:
        waveform = np.concatenate([before.waveform, waveform])
        begin -= len(before.waveform)
    if after:
        waveform = np.concatenate([waveform, after.waveform[: context * frame_samples]])
    encoded = encode_waveforms(bundle, [waveform[encoded_from * frame_samples - begin :]])
    ctc = ctc_of(bundle.model.heads)
    assert ctc is not None, "an aligner has looked"
    rows = with_wildcard(ctc.log_probs(encoded)[0, : encoded.lens[0]].cpu(), ctc.vocabulary)
    return np.asarray(rows[first - encoded_from : None if last is None else last - encoded_from].numpy())


class _Loudness:
    """The loudness of what passes by, in blocks of whole hops but for the last one."""

    def __init__(self, sample_rate: int) -> None:
        self.num_samples = 0
        self._sample_rate = sample_rate
        self._values: list[np.ndarray] = []

    def passing(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The blocks themselves."""
        hop = round(HOP * self._sample_rate)
        last_hop = np.zeros(0, dtype=np.float32)
        for block in blocks:
            self.num_samples += len(block)
            values = loudness(np.concatenate([last_hop, block]), self._sample_rate)
            if self._values:
                self._values[-1] = self._values[-1][:-1]
            self._values.append(values[1:] if len(last_hop) else values)
            last_hop = block[-hop:]
            yield block

    def values(self) -> np.ndarray:
        """All of it so far, as of one waveform."""
        return np.concatenate(self._values) if self._values else loudness(np.zeros(0), self._sample_rate)
