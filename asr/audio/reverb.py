"""Simulated reverberation: a room's echo as noise that dies away exponentially.

After the first echoes a room answers so densely that its impulse response is Gaussian noise under an exponential
envelope (Polack's model; Polack, "La transmission de l'énergie sonore dans les salles", 1988; used to simulate and to
remove reverberation by Lebart et al., Acta Acustica 87, 2001). It takes two numbers a listener can name, the time of
decay and how loud the echo is, and one convolution; the image-source method (Allen and Berkley 1979) computes every
early echo of a box for a hundred times the work. That simulated rooms help recognisers as much as measured ones: Ko et
al., "A study on data augmentation of reverberant speech for robust speech recognition", ICASSP 2017.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from asr.audio.ranges import DecibelRange, in_order
from asr.registry import Config

PRE_DELAY = 0.003  # seconds between the direct sound and its first echo: a wall, a table half a metre away

DecaySeconds = Annotated[float, Field(ge=0.05, le=5.0)]


class ReverbConfig(Config):
    """Echoes of a room drawn anew for every utterance."""

    probability: float = Field(default=0.5, ge=0, le=1)  # of adding any
    rt60: Annotated[tuple[DecaySeconds, DecaySeconds], AfterValidator(in_order)] = (
        0.2,
        0.8,
    )  # seconds until an echo is 60 dB down: from, to
    direct_to_reverberant_db: DecibelRange = (0.0, 15.0)  # energy of the direct sound over that of all echoes


def draw_tail(config: ReverbConfig, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """The echoes of a random room, both its properties uniform between the configured ones: as `echo_tail`."""
    return echo_tail(rng.uniform(*config.rt60), rng.uniform(*config.direct_to_reverberant_db), sample_rate, rng)


def echo_tail(rt60: float, direct_to_reverberant_db: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """A room's impulse response without its direct sound, which would be a 1 at sample 0: (num_samples,) float64.

    Its energy falls by 60 dB in `rt60` seconds, where it ends, and lies `direct_to_reverberant_db` below the direct
    sound's.
    """
    num_samples = round(rt60 * sample_rate)
    tail = rng.standard_normal(num_samples) * 10 ** (-3 * np.arange(num_samples) / num_samples)
    tail[: round(PRE_DELAY * sample_rate)] = 0.0
    scaled: np.ndarray = tail * 10 ** (-direct_to_reverberant_db / 20) / np.sqrt(np.sum(tail**2))
    return scaled


def add_echoes(waveform: np.ndarray, tail: np.ndarray) -> np.ndarray:
    """A (num_samples,) float32 waveform with its echoes; the direct sound stays where and as loud as it was.

    Echoes after the end of the waveform are cut off, so a text stays aligned to it and silence stays silence.
    """
    tail = tail[: len(waveform)]
    size = 1 << (len(waveform) + len(tail)).bit_length()  # a power of two transforms fastest, and no echo wraps around
    spectrum = np.fft.rfft(waveform, size) * np.fft.rfft(tail, size)
    return waveform + np.fft.irfft(spectrum, size)[: len(waveform)].astype(np.float32)
