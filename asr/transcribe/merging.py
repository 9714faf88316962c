"""Spans that follow each other as one, for models that hear windows of a fixed length.

Such a model is given silence after each span, and takes longer for two short windows than for a long one that has both.
Bain et al. 2023 (WhisperX, https://arxiv.org/abs/2303.00747) cut and merge speech so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from asr.transcribe.segmentation import Activity, Span

MAX_GAP = 2.0  # seconds between two spans, of which the model hears silence
MIN_CERTAINTY = 0.8  # of a detector: what may be noise stays by itself, to be judged by itself


class Merger:
    """Takes the spans of a recording in order and gives them merged, none longer than `max_seconds`.

    Where that is 0, each by itself and at once.
    """

    def __init__(self, max_seconds: float) -> None:
        self._max_seconds = max_seconds
        self._held: list[Span] = []

    def push(self, spans: Sequence[Span]) -> Iterator[Span]:
        """The merged spans that are complete once these are known."""
        if not self._max_seconds:
            yield from spans
            return
        for span in spans:
            if self._held and not self._goes_with(span):
                yield from self.finish()
            self._held.append(span)

    def finish(self) -> Iterator[Span]:
        """The last one."""
        if self._held:
            yield joined(self._held)
        self._held = []

    def _goes_with(self, span: Span) -> bool:
        first, last = self._held[0], self._held[-1]
        gap = span.start - last.end
        is_certain = all(one.activity is None or one.activity.certainty >= MIN_CERTAINTY for one in (last, span))
        fits = span.end - first.start <= self._max_seconds
        return fits and is_certain and 0.0 <= gap <= MAX_GAP and not last.continues


def joined(spans: Sequence[Span]) -> Span:
    """Spans of one recording that do not overlap as one; between them there is silence."""
    first, last = spans[0], spans[-1]
    if len(spans) == 1:
        return first
    waveform = np.zeros(last.first + len(last.waveform) - first.first, dtype=np.float32)
    for span in spans:
        start = span.first - first.first
        waveform[start : start + len(span.waveform)] = span.waveform
    activities = [span.activity for span in spans if span.activity is not None]
    activity = _joined_activity(activities) if len(activities) == len(spans) else None
    return Span(first.first, waveform, first.sample_rate, (first.speech[0], last.speech[1]), last.continues, activity)


def _joined_activity(activities: Sequence[Activity]) -> Activity:
    frame_seconds, start = activities[0].frame_seconds, activities[0].start
    places = [round((one.start - start) / frame_seconds) for one in activities]
    length = max(place + len(one.probabilities) for place, one in zip(places, activities, strict=True))
    probabilities = np.zeros(length, dtype=np.float32)
    for place, one in zip(places, activities, strict=True):
        probabilities[place : place + len(one.probabilities)] = one.probabilities
    return Activity(start, frame_seconds, probabilities)
