"""How long after sound its text comes: when each second of a stream arrived, and what was said of it when."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable

from asr.serve.metrics import Metrics
from asr.transcribe.events import Event, Partial, SegmentReady

MAX_ARRIVALS = 4000  # pieces of a stream whose arrival is remembered


class Latencies:
    """Watches one stream."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._arrivals: deque[tuple[float, float]] = deque(maxlen=MAX_ARRIVALS)  # seconds of the stream, and when
        self._is_new = True  # nothing was shown of the utterance that is being spoken

    def arrived(self, seconds: float) -> None:
        """So much of the stream is here now."""
        self._arrivals.append((seconds, self._clock()))

    def told(self, event: Event) -> None:
        """An event goes out."""
        if not isinstance(event, Partial | SegmentReady) or not self._arrivals:
            return
        if self._is_new:
            self._metrics.first_partial.observe(self._since(event.segment.start))
        self._is_new = isinstance(event, SegmentReady)
        if self._is_new:
            self._metrics.finalization.observe(self._since(event.segment.end))

    def _since(self, seconds: float) -> float:
        """How long ago the sound at a place of the stream arrived."""
        place = bisect_left(self._arrivals, seconds, key=lambda arrival: arrival[0])
        return max(0.0, self._clock() - self._arrivals[min(place, len(self._arrivals) - 1)][1])
