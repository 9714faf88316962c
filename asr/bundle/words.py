"""Words with times and confidence, from tokens whose frames are known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.alignment.timing import loudness, word_times
from asr.bundle.bundle import Bundle
from asr.text.tokenizer import WordSpan
from asr.types import Word


@dataclass(frozen=True)
class Sound:
    """A stretch of a recording as a model hears it."""

    waveform: np.ndarray  # (num_samples,) at the model's rate
    sample_rate: int
    frame_seconds: float  # of an encoder frame

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.waveform) / self.sample_rate


def hear(bundle: Bundle, waveform: np.ndarray) -> Sound:
    """A waveform at the rate of a model's front-end."""
    frame_seconds = bundle.model.subsampling_factor * bundle.frontend.frame_seconds
    return Sound(waveform, bundle.frontend.sample_rate, frame_seconds)


def timed_words(
    words: Sequence[WordSpan],
    confidences: Sequence[float],
    token_frames: np.ndarray | None,
    sound: Sound,
    start: float,
    end: float,
) -> tuple[Word, ...]:
    """The words of a text whose tokens stand in frames (U, 2) of a sound that is `start` to `end` seconds of the file.

    Where the text does not fit the sound (no frames), its words share the time by their numbers of tokens.
    """
    if not words:
        return ()
    if token_frames is not None:
        seconds = (token_frames * sound.frame_seconds).tolist()
        spikes = [(seconds[word.start][0], seconds[word.stop - 1][1]) for word in words]
        times = word_times(spikes, loudness(sound.waveform, sound.sample_rate), sound.duration)
    else:
        tokens = np.cumsum([0, *(word.stop - word.start for word in words)])
        times = list(itertools.pairwise((tokens * (sound.duration / tokens[-1])).tolist()))
    return tuple(
        Word(start + first, min(start + last, end), word.text, confidence)
        for word, (first, last), confidence in zip(words, times, confidences, strict=True)
    )
