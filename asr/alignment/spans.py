"""When words begin and end, from an alignment that gives every moment to some word, silence included.

Such are those of attention (`asr.alignment.dtw`): the time before the first word, pauses and what follows the last word
belong to one of their neighbours. Loudness finds where in its stretch a word sounds at all, and then, as for the spikes
of CTC, its edges.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asr.alignment.timing import HOP, MAX_DEPTH, MIN_DEPTH, QUIET, word_times

# Of a word's stretch, left out at both of its ends: there the boundary between two words may be. On training clips of
# AN4 and of speechocean762 0.2 gives the smallest errors against CTC alignments; 0.3 puts ends 20 ms later.
EDGE = 0.2


def word_times_of_spans(
    spans: Sequence[tuple[float, float]], loudness: np.ndarray, duration: float
) -> list[tuple[float, float]]:
    """Start and end of every word, in seconds, from touching stretches of an audio of `duration` seconds.

    `loudness` is that of the whole audio (`asr.alignment.timing.loudness`). Words come in order, do not overlap, lie
    within 0..duration and are not empty.
    """
    kept = [(min(max(start, 0.0), duration), min(max(end, 0.0), duration)) for start, end in spans]
    cores = []
    for start, end in (_sounding(*span, loudness) for span in kept):
        edge = EDGE * (end - start)
        cores.append(_sounding(start + edge, end - edge, loudness))
    return word_times(cores, loudness, duration)


def _sounding(start: float, end: float, loudness: np.ndarray) -> tuple[float, float]:
    """A stretch without silence at its ends; as it is where nothing in it is much louder than the quietest moment."""
    first = int(start / HOP)
    part = loudness[first : max(int(np.ceil(end / HOP)), first) + 1]
    peak = part.max(initial=-100.0)
    floor = max(float(loudness.min(initial=peak)), peak - MAX_DEPTH)
    if not len(part) or peak - floor < MIN_DEPTH:
        return start, end
    loud = np.flatnonzero(part >= floor + QUIET * (peak - floor))
    begin = min(max(start, (first + int(loud[0])) * HOP), max(start, end - HOP))
    stop = max(min(end, (first + int(loud[-1])) * HOP), min(end, begin + HOP))
    return begin, stop
