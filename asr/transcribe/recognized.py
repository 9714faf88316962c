"""What a model makes of a span."""

from __future__ import annotations

from dataclasses import dataclass

from asr.types import Segment


@dataclass(frozen=True)
class Recognized:
    """The segments of a span in time order, and where the detector finds speech that none of them covers."""

    segments: tuple[Segment, ...] = ()
    uncovered: tuple[tuple[float, float], ...] = ()  # seconds of the recording, from and up to


NOTHING = Recognized()
