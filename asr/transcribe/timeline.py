"""Times as files need them: whole milliseconds, inside the recording, in order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from asr.types import Segment, Transcript

HEADER_SLACK = 0.1  # seconds that resampling and rounding may add; more means that the stated duration is wrong


def recording_end(transcript: Transcript, duration: float) -> int:
    """The last whole millisecond of a recording of `duration` seconds.

    Some headers state less than there is: if the transcript goes well past the duration, its own end is taken.
    """
    ends = [segment.end for segment in transcript.segments]
    ends += [word.end for segment in transcript.segments for word in segment.words]
    last = max(ends, default=0.0)
    return math.floor(1000 * (last if last > duration + HEADER_SLACK else duration) + 1e-6)


def milliseconds(seconds: float, limit: int) -> int:
    """The nearest whole millisecond between 0 and `limit`."""
    return min(max(round(1000 * seconds), 0), limit)


def disjoint(spans: Sequence[tuple[int, int]], limit: int) -> list[tuple[int, int]]:
    """The spans (start, end) in milliseconds, each at least 1 long, ending before the next starts and by `limit`.

    They come in order of time; what is in order already and does not overlap stays as it is. If there are more spans
    than milliseconds, the limit gives way.
    """
    limit = max(limit, len(spans))
    starts: list[int] = []
    for place, (start, _) in enumerate(spans):
        earliest = starts[-1] + 1 if starts else 0
        latest = limit - (len(spans) - place)  # leaves a millisecond for each that follows
        starts.append(min(max(start, earliest), latest))
    room = itertools.pairwise([*starts, limit])
    return [
        (start, min(max(end, start + 1), following)) for (start, following), (_, end) in zip(room, spans, strict=True)
    ]


def clock(time: int, mark: str) -> str:
    """Milliseconds as hours:minutes:seconds, `mark`, milliseconds."""
    minutes, rest = divmod(time, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{mark}{rest % 1000:03d}"


def by_channel(transcript: Transcript) -> dict[int | None, list[Segment]]:
    """The segments of each channel, channels in order; all under None where they were not transcribed apart."""
    channels: dict[int | None, list[Segment]] = {}
    for segment in transcript.segments:
        channels.setdefault(segment.channel, []).append(segment)
    return dict(sorted(channels.items(), key=lambda item: -1 if item[0] is None else item[0]))
