"""What every voice activity detector promises, and the registry they are filed under.

Shapes: N samples given, K frames, W samples of a frame at the detector's own rate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import soxr

from asr.errors import AudioError
from asr.registry import NamedConfig, Registry

MODEL_RATE = 16000  # Hz, at which all detectors work
FRAME_SAMPLES = 512  # at that rate
FRAMES_AT_ONCE = 256  # scored together, so that a push of any length takes bounded memory
MIN_RATE, MAX_RATE = 8000, 48000  # Hz


class Vad(ABC):
    """Estimates how probable speech is in every frame of a recording, of samples at `sample_rate` Hz, 8000 to 48000.

    Holds no state of a recording: any number of streams may run at once, in threads of their own, too. AudioError for
    another rate.
    """

    tells_speech: ClassVar[bool] = True  # from other sounds; False of a detector that knows levels alone

    def __init__(self, config: NamedConfig, sample_rate: int) -> None:
        if not MIN_RATE <= sample_rate <= MAX_RATE:
            raise AudioError(
                f"voice activity detection takes {MIN_RATE} to {MAX_RATE} Hz, not {sample_rate} Hz; resample the audio"
            )
        self.config = config
        self.sample_rate = sample_rate

    @property
    def frame_seconds(self) -> float:
        """How much audio one probability stands for."""
        return FRAME_SAMPLES / MODEL_RATE

    @abstractmethod
    def stream(self) -> VadStream:
        """A fresh recording."""


class VadStream(ABC):
    """One recording on its way through a detector.

    Frame k covers the samples from k * frame to (k + 1) * frame; there are ceil(all samples / samples of a frame), the
    last one padded with zeros. How the samples are divided into pushes does not change a probability. A frame may come
    later than its last sample, by the delay of the resampler or a detector's look-ahead; so count frames, not samples.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._num_samples = 0
        self._num_frames = 0  # scored
        self._waiting = np.zeros(0, dtype=np.float32)  # the beginning of the next frame
        self._finished = False
        self._resampler = (
            soxr.ResampleStream(sample_rate, MODEL_RATE, 1, dtype="float32", quality="HQ")
            if sample_rate != MODEL_RATE
            else None
        )

    def push(self, samples: np.ndarray) -> np.ndarray:
        """(N,) float32 samples -> probabilities (K,) float32 in 0..1 of the frames that became ready; K may be 0."""
        assert samples.ndim == 1
        assert not self._finished
        samples = samples.astype(np.float32, copy=False)
        self._num_samples += len(samples)
        if self._resampler is not None and len(samples):
            samples = self._resampler.resample_chunk(samples)
        return self._score_whole_frames(samples)

    def finish(self) -> np.ndarray:
        """The probabilities (K,) that are still owed; afterwards the stream takes no more."""
        assert not self._finished
        self._finished = True
        rest = np.zeros(0, dtype=np.float32)
        if self._resampler is not None and self._num_samples:
            rest = self._resampler.resample_chunk(rest, last=True)
        num_frames = -(-self._num_samples * MODEL_RATE // (self._sample_rate * FRAME_SAMPLES))
        missing = (num_frames - self._num_frames) * FRAME_SAMPLES - len(self._waiting) - len(rest)
        rest = np.pad(rest, (0, missing))  # never negative: the resampler's length is the exact one, rounded
        return np.concatenate((self._score_whole_frames(rest), self._score_rest()))

    def _score_whole_frames(self, samples: np.ndarray) -> np.ndarray:
        samples = np.concatenate((self._waiting, samples))
        num_frames = len(samples) // FRAME_SAMPLES
        frames_KW = samples[: num_frames * FRAME_SAMPLES].reshape(num_frames, FRAME_SAMPLES)
        self._waiting = samples[num_frames * FRAME_SAMPLES :].copy()  # not a view that keeps a long push alive
        self._num_frames += num_frames
        scored = [
            self._score(frames_KW[first : first + FRAMES_AT_ONCE]) for first in range(0, num_frames, FRAMES_AT_ONCE)
        ]
        return np.concatenate([np.zeros(0, dtype=np.float32), *scored])

    @abstractmethod
    def _score(self, frames_KW: np.ndarray) -> np.ndarray:
        """Take the next frames, at least one; return the probabilities that are ready, earlier frames' among them."""

    def _score_rest(self) -> np.ndarray:
        """The probabilities that waited for frames which will not come."""
        return np.zeros(0, dtype=np.float32)


VADS: Registry[type[Vad]] = Registry("voice activity detector")
