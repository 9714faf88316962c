"""TextGrids for Praat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asr.transcribe.display import one_line
from asr.transcribe.subtitles import DEFAULT_RULES, SubtitleRules
from asr.transcribe.timeline import by_channel, disjoint, milliseconds, recording_end
from asr.transcribe.writers.base import TranscriptSource
from asr.types import Segment, Transcript, Word

Interval = tuple[int, int, str]  # start and end in milliseconds, text


def to_textgrid(transcript: Transcript, source: TranscriptSource, _rules: SubtitleRules = DEFAULT_RULES, /) -> str:
    """Praat's long text format, with the tiers "segments" and "words"; what lies between is empty.

    Where the channels were transcribed apart, each has two such tiers: "segments 1", "words 1", "segments 2" and so on.
    """
    tiers: dict[str, Sequence[Segment | Word]] = {}
    for channel, segments in (by_channel(transcript) or {None: []}).items():
        suffix = "" if channel is None else f" {channel + 1}"
        tiers[f"segments{suffix}"] = segments
        tiers[f"words{suffix}"] = [word for segment in segments for word in segment.words]
    end = max(recording_end(transcript, source.duration), *map(len, tiers.values()), 1)
    xmax = f"{max(source.duration, end / 1000):.6f}"  # to the sample: Praat compares it with the sound's
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {xmax}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, (name, items) in enumerate(tiers.items(), start=1):
        lines += [f"    item [{number}]:", *_tier(name, list(_intervals(items, end)), xmax)]
    return "\n".join(lines) + "\n"


def _tier(name: str, intervals: Sequence[Interval], xmax: str) -> Iterator[str]:
    yield '        class = "IntervalTier"'
    yield f'        name = "{name}"'
    yield "        xmin = 0"
    yield f"        xmax = {xmax}"
    yield f"        intervals: size = {len(intervals)}"
    for place, (start, stop, text) in enumerate(intervals, start=1):
        yield f"        intervals [{place}]:"
        yield f"            xmin = {start / 1000:.3f}"
        yield f"            xmax = {xmax if place == len(intervals) else f'{stop / 1000:.3f}'}"
        yield f'            text = "{text.replace(chr(34), chr(34) * 2)}"'


def _intervals(items: Sequence[Segment | Word], end: int) -> Iterator[Interval]:
    """Intervals without gaps from 0 to `end`; Praat takes none without a length."""
    spans = [(milliseconds(item.start, end), milliseconds(item.end, end)) for item in items]
    reached = 0
    for (start, stop), item in zip(disjoint(spans, end), items, strict=True):
        if reached < start:
            yield reached, start, ""
        yield start, stop, one_line(item.text)
        reached = stop
    if reached < end:
        yield reached, end, ""
