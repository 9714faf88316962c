"""Where in a stream there is speech, as a detector hears it."""

from __future__ import annotations

import numpy as np

from asr.audio.vad import Vad
from asr.transcribe.segmentation import SegmentationConfig


class Hearing:
    """Follows one stream. Positions are samples of it; without a detector there is speech everywhere."""

    def __init__(self, config: SegmentationConfig, vad: Vad | None, sample_rate: int) -> None:
        self.onset: int | None = None  # where the speech that goes on, or was last, began; None before any
        self.last_speech = 0  # up to where there was speech
        self.now = 0  # up to where is known what there is
        self._config = config
        self.sample_rate = self._rate = sample_rate
        self.has_detector = vad is not None
        self._detector = None if vad is None else vad.stream()
        self._frame_seconds = 0.0 if vad is None else vad.frame_seconds
        self._num_frames = 0
        self._began: int | None = None  # of a sound that may become speech
        self._num_certain = 0  # frames at `onset` or above since then
        if vad is None:
            self.onset = 0

    @property
    def silence(self) -> float:
        """Seconds since there was speech."""
        return (self.now - self.last_speech) / self._rate

    @property
    def undecided(self) -> int:
        """Samples before it are no part of speech that may still begin."""
        return self.now if self._began is None else self._began

    def push(self, samples: np.ndarray) -> None:
        """The next samples (N,)."""
        if self._detector is None:
            self.now += len(samples)
            self.last_speech = self.now
            return
        for probability in self._detector.push(samples).tolist():
            self._frame(probability)

    def forget(self) -> None:
        """The utterance is over: what comes has to prove anew that it is speech."""
        self.onset = None if self._detector is not None else self.now
        self._began = None

    def _frame(self, probability: float) -> None:
        began = self.now
        self._num_frames += 1
        self.now = round(self._num_frames * self._frame_seconds * self._rate)
        if probability < self._config.offset:
            self._began = None
            return
        if self.onset is not None:
            self.last_speech = self.now
            return
        if self._began is None:
            self._began, self._num_certain = began, 0
        self._num_certain += probability >= self._config.onset
        if self._num_certain == 0:  # what may stay so for hours
            self._began = max(self._began, self.now - self._rate)
        if self._num_certain * self._frame_seconds >= max(self._config.min_speech, self._frame_seconds):
            self.onset, self.last_speech, self._began = self._began, self.now, None
