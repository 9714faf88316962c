"""When words begin and end: forced alignment finds each word, loudness finds its edges.

CTC outputs are spikes: a token is certain for one frame soon after its sound begins, and nothing marks where it ends.
Label priors (Huang et al. 2024, "Less peaky and more accurate CTC forced alignment by label priors"), subtracted at
alignment only, changed next to nothing for models as peaky as ours. So the spikes say between which moments a boundary
lies, and the loudness of the audio between them where: a pause belongs to no word, and words without a pause between
them meet a little before the spike of the second. The constants were chosen on dev data: tools/benchmarks/alignment.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

HOP = 0.01  # seconds between values of loudness
SPIKE_DELAY = 0.03  # seconds from the beginning of a sound to the frame where its token is certain
MIN_PAUSE = 0.12  # seconds; shorter silences are closures inside words
MAX_CLICK = 0.06  # seconds; shorter noises in a pause are no onset of speech
MAX_DEPTH = 30.0  # dB below the peak of a word; lower levels count as this low
MIN_DEPTH = 12.0  # dB that the quietest moment of a pause lies below the peaks next to it
QUIET = 0.3  # of the way, in dB, from that moment up to the peak: below is pause, above is speech
PEAK_REACH = (0.10, 0.20)  # seconds before and after the spikes of a word where its peak is looked for


def loudness(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Power in dB around every multiple of HOP, over 2 HOP, from samples (N,); -100 for digital silence."""
    hop = round(HOP * sample_rate)
    num_hops = len(waveform) // hop
    sums = np.square(waveform[: num_hops * hop].reshape(num_hops, hop), dtype=np.float64).sum(1)
    around = np.pad(sums, (1, 0)) + np.pad(sums, (0, 1))
    return np.asarray(10 * np.log10(around / (2 * hop) + 1e-10))


def word_times(
    spikes: Sequence[tuple[float, float]], loudness: np.ndarray, duration: float
) -> list[tuple[float, float]]:
    """Start and end of every word, in seconds.

    `spikes` are the beginning of a word's first token and the end of its last one, in order and without overlap,
    `loudness` that of the whole audio. Words do not overlap, lie within 0..duration and contain their spikes.
    """
    if not spikes:
        return []
    moments = [min(moment, duration) for moment in (0.0, *itertools.chain(*spikes), duration)]
    peaks = [_peak(loudness, first, last) for first, last in spikes]
    level = [peaks[0], *map(min, itertools.pairwise(peaks)), peaks[-1]]  # of the softer neighbour of each gap
    gaps = [
        _silence(loudness, begin, end, peak, opens=place == 0, closes=place == len(spikes))
        for place, (begin, end, peak) in enumerate(zip(moments[::2], moments[1::2], level, strict=True))
    ]
    return [(before[1], after[0]) for before, after in itertools.pairwise(gaps)]


def _peak(loudness: np.ndarray, first: float, last: float) -> float:
    """The loudest moment of a word."""
    before, after = PEAK_REACH
    return float(loudness[max(0, int((first - before) / HOP)) : int((last + after) / HOP) + 1].max(initial=-100.0))


def _silence(
    loudness: np.ndarray, begin: float, end: float, peak: float, *, opens: bool, closes: bool
) -> tuple[float, float]:
    """Where, in a gap between spikes, the word before ends and the word after starts.

    Silence that `opens` or `closes` the recording may be of any length. Speech in the middle of a gap, which is in no
    word, stays outside both.
    """
    first, last = round(begin / HOP), round(end / HOP)
    quiet = _is_quiet(loudness[first:last], peak)
    clean = quiet.copy()
    for start, stop in _runs(~quiet):
        clean[start:stop] = (stop - start) * HOP < MAX_CLICK and stop < len(quiet)

    def pauses(mask: np.ndarray) -> list[tuple[float, float]]:
        return [
            (min(begin + start * HOP, end), min(begin + stop * HOP, end))
            for start, stop in _runs(mask)
            if (stop - start) * HOP >= MIN_PAUSE or (opens and start == 0) or (closes and stop == len(mask))
        ]

    if not (found := pauses(quiet)):
        meeting = end if closes else max(begin, end - SPIKE_DELAY)
        return meeting, meeting
    return found[0][0], pauses(clean)[-1][1]


def _is_quiet(loudness: np.ndarray, peak: float) -> np.ndarray:
    """Where a gap (N,) is much quieter than the words next to it, nowhere if it has no such moment."""
    floor = max(float(loudness.min(initial=peak)), peak - MAX_DEPTH)
    return np.asarray((loudness < floor + QUIET * (peak - floor)) & (peak - floor >= MIN_DEPTH))


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """First and one past the last index of every stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
