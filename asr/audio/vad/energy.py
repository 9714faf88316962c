"""Voice activity by energy: how far a frame's level stands above the noise around it. Needs no model.

The noise floor is a low quantile of the levels of the seconds before and the second after a frame ("minimum
statistics", Martin, IEEE Trans. Speech and Audio Processing 9(5), 2001, with a quantile in place of the minimum).
Steady sounds such as hum become floor; whatever else is loud counts as speech.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from asr.audio.vad.base import FRAME_SAMPLES, MODEL_RATE, VADS, Vad, VadStream
from asr.registry import NamedConfig

LOW_FREQ, HIGH_FREQ = 100.0, 4000.0  # Hz; mains hum lies below, and a telephone has nothing above
FLOOR_SECONDS = 10.0  # before a frame, that tell its noise floor
LOOK_AHEAD_SECONDS = 1.0  # after it: without, speech from the first sample on would be its own floor
FLOOR_QUANTILE = 0.1
SLOPE_DB = 1.5  # of the logistic function
SILENCE_DB = -110.0  # below full scale; 16-bit rounding noise is at -101, so this is no recording of a room


class EnergyVadConfig(NamedConfig):
    """The level that counts as speech."""

    name: Literal["energy"] = "energy"
    threshold_db: float = Field(default=8.0, gt=0)  # above the noise floor, where speech and noise are equally probable


@VADS.register(EnergyVadConfig)
class EnergyVad(Vad):
    """Depends on the noise floor, not on the gain: a quieter copy of a recording has the same probabilities."""

    config: EnergyVadConfig

    def stream(self) -> EnergyVadStream:
        return EnergyVadStream(self.sample_rate, self.config.threshold_db)


class EnergyVadStream(VadStream):
    """Owes the frames of the last second until `finish`."""

    def __init__(self, sample_rate: int, threshold_db: float) -> None:
        super().__init__(sample_rate)
        self._threshold_db = threshold_db
        frame_rate = MODEL_RATE / FRAME_SAMPLES
        self._num_before = round(FLOOR_SECONDS * frame_rate)
        self._num_after = round(LOOK_AHEAD_SECONDS * frame_rate)
        self._levels = np.full(self._num_before, np.inf)  # dB, from `num_before` before the next frame to judge

    def _score(self, frames_KW: np.ndarray) -> np.ndarray:
        return self._judge(_levels_db(frames_KW))

    def _score_rest(self) -> np.ndarray:
        return self._judge(np.full(self._num_after, np.inf))

    def _judge(self, levels: np.ndarray) -> np.ndarray:
        """Append levels, which are infinite where nothing is known, and judge the frames that have their second."""
        self._levels = np.concatenate((self._levels, levels))
        width = self._num_before + 1 + self._num_after
        if len(self._levels) < width:
            return np.zeros(0, dtype=np.float32)
        around = np.sort(np.lib.stride_tricks.sliding_window_view(self._levels, width), axis=1)
        num_known = np.isfinite(around).sum(axis=1)
        place = (FLOOR_QUANTILE * np.maximum(num_known - 1, 0)).astype(int)
        floor = np.take_along_axis(around, place[:, None], axis=1)[:, 0]
        level = self._levels[self._num_before : self._num_before + len(floor)]
        self._levels = self._levels[len(floor) :]
        heard = np.isfinite(level)
        above = np.subtract(level, floor, where=heard, out=np.full(len(level), -np.inf))
        probabilities = 1.0 / (1.0 + np.exp((self._threshold_db - above) / SLOPE_DB))
        return probabilities.astype(np.float32)


_WINDOW = np.hanning(FRAME_SAMPLES + 1)[:-1]
_BINS = slice(*(round(frequency * FRAME_SAMPLES / MODEL_RATE) for frequency in (LOW_FREQ, HIGH_FREQ)))


def _levels_db(frames_KW: np.ndarray) -> np.ndarray:
    """The level (K,) of each frame in the band of speech, dB below a full-scale square wave; infinite for silence."""
    spectrum = np.fft.rfft(frames_KW * _WINDOW)[:, _BINS]
    power = 2 * (spectrum.real**2 + spectrum.imag**2).sum(axis=1) / (FRAME_SAMPLES * (_WINDOW**2).sum())
    levels = 10 * np.log10(np.maximum(power, 1e-30))
    return np.where(levels > SILENCE_DB, levels, np.inf)
