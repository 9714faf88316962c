"""Speech without text: where a detector finds speech and no segment is, though all that is said should be written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from asr.bundle.recognition import Decoded
from asr.decoding.measures import AVG_LOGPROB, NO_SPEECH
from asr.transcribe.segmentation import Activity, Span
from asr.types import Segment

Stretch = tuple[float, float]  # seconds of a recording, from and up to

LIKELY = 0.5  # probability of speech
CERTAIN = 0.9
MIN_CERTAIN = 0.5  # seconds of it that a gap holds at least
MAX_PAUSE = 0.3  # seconds inside one stretch of speech
MIN_GAP = 1.0  # seconds: less may be a word whose time is a little off
MAX_NO_SPEECH = 0.6
MIN_CERTAINTY = 0.8
MIN_AVG_LOGPROB = -1.0  # Whisper's own, beside MAX_NO_SPEECH
MARGIN = 0.25  # seconds around a segment that count as covered


def uncovered_speech(span: Span, segments: Iterable[Segment]) -> list[Stretch]:
    """Where a span has speech, MIN_GAP seconds at least, and no segment; nowhere without a detector.

    One that knows levels alone finds sounds as loud as speech.
    """
    activity = span.activity
    if activity is None:
        return []
    covered = [(segment.start - MARGIN, segment.end + MARGIN) for segment in segments]
    gaps = without(activity.stretches(LIKELY, MAX_PAUSE), covered)
    inside = ((max(start, span.start), min(end, span.end)) for start, end in gaps)
    return [gap for gap in inside if gap[1] - gap[0] >= MIN_GAP and _certain_seconds(span, gap) >= MIN_CERTAIN]


def is_noise(activity: Activity | None, decoded: Decoded) -> bool:
    """Whether model and detector agree that nobody speaks in what was decoded.

    Either alone is not to be trusted: models doubt faint speech, and detectors take a rooster for a person. Where no
    detector can tell, a text of which the model is not sure has to do, as in Whisper's own rule.
    """
    measures = decoded.n_best[0].measures
    if measures.get(NO_SPEECH, 0.0) <= MAX_NO_SPEECH:
        return False
    if activity is None or not activity.tells_speech:
        return measures.get(AVG_LOGPROB, 0.0) < MIN_AVG_LOGPROB
    return activity.certainty < MIN_CERTAINTY


def without(stretches: Iterable[Stretch], covered: Iterable[Stretch]) -> list[Stretch]:
    """What is left of stretches."""
    in_order = sorted(covered)
    left: list[Stretch] = []
    for start, end in sorted(stretches):
        reached = start
        for first, last in in_order:
            if first >= end:
                break
            if first > reached:
                left.append((reached, first))
            reached = max(reached, last)
        if reached < end:
            left.append((reached, end))
    return left


def united(stretches: Iterable[Stretch]) -> tuple[Stretch, ...]:
    """Stretches in order, those that overlap as one."""
    found: list[Stretch] = []
    for start, end in sorted(stretches):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)


def still_uncovered(stretches: Sequence[Stretch], segments: Iterable[Segment]) -> tuple[Stretch, ...]:
    """Of stretches what is left beside all segments of a recording: those of the next span may cover the end of one."""
    covered = [(segment.start - MARGIN, segment.end + MARGIN) for segment in segments]
    return tuple(part for part in without(united(stretches), covered) if part[1] - part[0] >= MIN_GAP)


def cut_out(span: Span, stretch: Stretch) -> Span:
    """A part of a span as one of its own."""
    rate = span.sample_rate
    first, last = (round(moment * rate) for moment in stretch)
    first, last = max(first, span.first), min(last, span.first + len(span.waveform))
    waveform = np.ascontiguousarray(span.waveform[first - span.first : last - span.first])
    return Span(first, waveform, rate, (first, last), activity=span.activity)


def _certain_seconds(span: Span, stretch: Stretch) -> float:
    assert span.activity is not None
    activity = span.activity
    first, last = (round((moment - activity.start) / activity.frame_seconds) for moment in stretch)
    return float((activity.probabilities[max(0, first) : max(0, last)] >= CERTAIN).sum()) * activity.frame_seconds
