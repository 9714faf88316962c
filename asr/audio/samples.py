"""What samples say about the health of a recording: errors for impossible ones, warnings for unlikely ones."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from asr.errors import (
    AudioError,
    NonFiniteAudioError,
    OppositePhasesWarning,
    OutOfRangeAudioError,
    UnscaledAudioWarning,
)

MAX_LEVEL = 2.0**33  # times full scale; 32-bit integers written as floats are less, and features stay finite
UNSCALED_LEVEL = 100.0  # times full scale; integers of 8 bits or more written as floats are more, loud mixes less
OPPOSED = 0.04  # of the power that a mix of unrelated channels has; channels in opposite phases have less
NOT_SILENT = 1e-8  # mean power; below, which is -80 dB, a silent mix needs no warning


def check_levels(samples: np.ndarray, where: str, first: int, sample_rate: float) -> float:
    """The largest magnitude of samples (num_samples,) or (num_samples, num_channels); 0 for none.

    `first` is the number of the first one in the recording that `where` names. Raises NonFiniteAudioError for NaN and
    infinities, OutOfRangeAudioError for magnitudes above MAX_LEVEL; both name the sample.
    """
    if not samples.size:
        return 0.0
    peak = float(max(samples.max(), -samples.min()))  # NaN, if there is one
    if peak <= MAX_LEVEL:
        return peak
    magnitudes = np.abs(samples.reshape(len(samples), -1)).max(axis=1)
    index = int(np.argmax(~(magnitudes <= MAX_LEVEL)))
    value = samples.reshape(len(samples), -1)[index]
    value = value[np.argmax(~(np.abs(value) <= MAX_LEVEL))]
    number = first + index
    place = f"sample {number} (at {number / sample_rate:.3f} s) is {value:g}"
    if not np.isfinite(value):
        raise NonFiniteAudioError(f"{where}: holds NaN or infinite samples: {place}; export it again")
    raise OutOfRangeAudioError(f"{where}: {place}, where full scale is 1: no sound is; export it again")


def warn_if_unscaled(where: str, peak: float) -> bool:
    """Warn, with UnscaledAudioWarning, and return True if only integers written as floats have such a `peak`."""
    if peak > UNSCALED_LEVEL:
        warnings.warn(
            f"{where}: samples reach {peak:.0f}, where full scale is 1; if they are integers written as "
            "floats, divide them by 32768 (or 2147483648), or export the recording as 16-bit wav or flac",
            UnscaledAudioWarning,
            stacklevel=3,
        )
    return peak > UNSCALED_LEVEL


def as_waveform(samples: Any, sample_rate: float) -> np.ndarray:
    """Samples (num_samples,) of floats in [-1, 1] from an array, a tensor of any library, or a sequence of numbers.

    Raises AudioError for another shape or type, for magnitudes as `check_levels` does, and for a sample rate (Hz) that
    is not above 0.
    """
    if hasattr(samples, "detach"):  # a tensor of torch, perhaps with gradients, on a device, of a type numpy lacks
        samples = samples.detach().cpu()
        samples = samples.float() if samples.is_floating_point() else samples
    try:
        waveform = np.asarray(samples)
    except (TypeError, ValueError) as error:
        raise AudioError(
            f"expected a waveform of shape (num_samples,), got {type(samples).__name__}: {error}"
        ) from error
    if waveform.ndim != 1:
        raise AudioError(
            f"expected a waveform of shape (num_samples,), got {waveform.shape}; mix the channels down first"
        )
    if not np.issubdtype(waveform.dtype, np.floating):
        raise AudioError(f"expected float samples in [-1, 1], got {waveform.dtype}; divide int16 samples by 32768")
    if not sample_rate > 0:
        raise AudioError(f"sample rate {sample_rate} is impossible; it is in Hz")
    check_levels(waveform, "the waveform", 0, sample_rate)
    return waveform


class Watch:
    """Looks at the channels of a recording as they pass and warns, with AudioWarning, of what they hardly should be."""

    def __init__(self, where: str, sample_rate: int, first: int) -> None:
        self._where = where
        self._sample_rate = sample_rate
        self.position = first
        self._is_unscaled = False
        self._powers = np.zeros(2)  # sums over samples: of the mix, and of the channels on average
        self._num_samples = 0

    def look(self, block: np.ndarray) -> None:
        """Check the next samples (num_samples, num_channels), those that are used; errors as of `check_levels`."""
        peak = check_levels(block, self._where, self.position, self._sample_rate)
        self.position += len(block)
        self._is_unscaled = self._is_unscaled or warn_if_unscaled(self._where, peak)

    def look_at_mix(self, block: np.ndarray, mix: np.ndarray) -> None:
        """Compare channels (num_samples, num_channels) with their mean (num_samples,)."""
        self._powers += (np.vdot(mix, mix), np.vdot(block, block) / block.shape[1])
        self._num_samples += len(mix)

    def finish(self, num_channels: int) -> None:
        """Warn if the channels cancelled each other out in their mean."""
        mixed, alone = self._powers
        if alone > NOT_SILENT * self._num_samples and mixed * num_channels < OPPOSED * alone:
            level = f"{10 * np.log10(max(mixed / alone, 1e-12)):.0f} dB"
            warnings.warn(
                f"{self._where}: the {num_channels} channels are in opposite phases, and {level} is left of them in "
                "their mean; use one channel: --channel 0",
                OppositePhasesWarning,
                stacklevel=2,
            )
