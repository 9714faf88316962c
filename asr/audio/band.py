"""Whether a recording holds only what a telephone lets through, as does one whose sample rate once was 8 kHz."""

from __future__ import annotations

import numpy as np

TELEPHONE_HZ = 4000.0  # half of 8 kHz
WINDOW_SECONDS = 0.032
EVERY = 4  # of so many windows one is looked at
EMPTY_DB = -55.0  # above 4 kHz, relative to below, on average; of AN4's recordings, made at 16 kHz, the least has -39
LEAST_SECONDS = 0.5


class BandWatch:
    """Looks at the samples of a recording as they pass, at `sample_rate` Hz."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._size = round(WINDOW_SECONDS * sample_rate)
        frequencies = np.fft.rfftfreq(self._size, 1 / sample_rate)
        self._below = (frequencies > 200) & (frequencies < 0.95 * TELEPHONE_HZ)
        self._above = frequencies > 1.05 * TELEPHONE_HZ
        self._window = np.hanning(self._size)
        self._powers = np.zeros(2)  # below and above, summed over windows
        self._num_samples = 0

    def look(self, block: np.ndarray) -> None:
        """Take the next samples (num_samples,)."""
        self._num_samples += len(block)
        windows = block[: len(block) // self._size * self._size].reshape(-1, self._size)[::EVERY]
        power = np.square(np.abs(np.fft.rfft(windows * self._window))).sum(axis=0)
        self._powers += power[self._below].sum(), power[self._above].sum()

    @property
    def is_narrow(self) -> bool:
        """Whether there is sound, but none above 4 kHz; False for rates that hold no more anyway."""
        below, above = self._powers
        heard = self._num_samples >= LEAST_SECONDS * self._rate and below > 0
        return bool(heard and self._rate > 2.2 * TELEPHONE_HZ and above < below * 10 ** (EMPTY_DB / 10))
