"""Sample rate conversion."""

from __future__ import annotations

import numpy as np
import soxr

from asr.errors import AudioError


def resample(waveform: np.ndarray, from_rate: float, to_rate: float) -> np.ndarray:
    """A (num_samples,) waveform at another rate (Hz), float32, by soxr's HQ setting.

    num_samples * to_rate / from_rate samples come back, rounded. Equal rates return the waveform itself.
    """
    if from_rate <= 0 or to_rate <= 0:
        raise AudioError(f"cannot resample from {from_rate} Hz to {to_rate} Hz; sample rates are positive")
    if from_rate == to_rate or not len(waveform):
        return waveform.astype(np.float32, copy=False)
    return np.asarray(soxr.resample(waveform.astype(np.float32, copy=False), from_rate, to_rate, quality="HQ"))
