"""Recordings of any length in bounded memory: they are cut at quiet points into windows a model can take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from asr.errors import ConfigError

HOP_SECONDS = 0.010  # resolution of a cut
QUIET_SECONDS = 0.200  # the power around a cut is averaged over this long
MIN_WINDOW_SECONDS = 1.0  # smallest sensible limit: words must fit


@dataclass(frozen=True)
class Window:
    """A stretch of a recording, all of which lies in windows."""

    start: float  # seconds into the recording
    end: float  # the very number that the next window starts at
    waveform: np.ndarray  # (num_samples,) float32


def split_windows(blocks: Iterable[np.ndarray], sample_rate: int, max_seconds: float) -> Iterator[Window]:
    """Cut a stream of waveform blocks into windows of at most `max_seconds`.

    A cut lies at the quietest point of the second half of what the limit allows, so every window but the last is at
    least half as long as the limit. The cuts do not depend on how the stream is divided into blocks. An empty stream
    gives no window. Raises ConfigError for a limit below one second.
    """
    if not max_seconds >= MIN_WINDOW_SECONDS:
        raise ConfigError(f"max_seconds is {max_seconds}; it must be at least {MIN_WINDOW_SECONDS}")
    max_samples = int(max_seconds * sample_rate)
    start = 0
    rest = np.zeros(0, dtype=np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) > max_samples:
            cut = quietest_point(rest[:max_samples], sample_rate, max_samples // 2)
            yield Window(start / sample_rate, (start + cut) / sample_rate, rest[:cut])
            rest = rest[cut:]
            start += cut
    if len(rest):
        yield Window(start / sample_rate, (start + len(rest)) / sample_rate, rest)


def quietest_point(waveform: np.ndarray, sample_rate: int, earliest: int) -> int:
    """The sample from `earliest` on around which it is quietest; of equals, as in digital silence, the last."""
    hop = int(HOP_SECONDS * sample_rate)
    num_hops = (len(waveform) - earliest) // hop
    hops = waveform[earliest : earliest + num_hops * hop].reshape(num_hops, hop)
    power = np.square(hops, dtype=np.float64).sum(axis=1)
    width = round(QUIET_SECONDS / HOP_SECONDS)
    around = np.lib.stride_tricks.sliding_window_view(power, width).sum(axis=1)
    last_quietest = len(around) - 1 - int(np.argmin(around[::-1]))
    return earliest + (last_quietest + width // 2) * hop


def pause_depth(waveform: np.ndarray, sample_rate: int, point: int) -> float:
    """How many dB the power around a point, as in `quietest_point`, lies below that of the whole."""
    reach = round(QUIET_SECONDS * sample_rate / 2)
    around = waveform[max(0, point - reach) : point + reach]
    quiet, whole = (1e-10 + np.square(samples, dtype=np.float64).mean() for samples in (around, waveform))
    return float(10 * np.log10(whole / quiet))
