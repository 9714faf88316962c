"""How far a transcription has come, for people."""

from __future__ import annotations

import time
from collections.abc import Callable

from asr.system.display import clock
from asr.transcribe.recordings import Recording


class Progress:
    """Counts seconds of audio. `total` are all there are, None where nobody has looked."""

    def __init__(self, total: float | None = None, now: Callable[[], float] = time.perf_counter) -> None:
        self.total = total
        self._now = now
        self._began = now()
        self.audio_seconds = 0.0  # read so far

    def add(self, seconds: float) -> None:
        """So much more audio has been read."""
        self.audio_seconds += seconds

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._now() - self._began

    def line(self, recording: Recording) -> str:
        """`talk.wav  12:30 of 1:00:00  RTF 0.015  ETA 0:43`"""
        position = clock(self.audio_seconds)
        if self.total is None or not self.audio_seconds:
            return f"{recording.name}  {position}"
        left = max(0.0, self.total - self.audio_seconds) * self.rtf
        return f"{recording.name}  {position} of {clock(self.total)}  RTF {self.rtf:.3f}  ETA {clock(left)}"

    @property
    def rtf(self) -> float:
        """Seconds of work for a second of audio."""
        return self.seconds / self.audio_seconds if self.audio_seconds else 0.0

    def summary(self, memory_mb: float | None) -> str:
        """`3600.0 s of audio in 40.2 s (RTF 0.011), at most 512 MB of memory`"""
        peak = "" if memory_mb is None else f", at most {memory_mb:.0f} MB of memory"
        return f"{self.audio_seconds:.1f} s of audio in {self.seconds:.1f} s (RTF {self.rtf:.3f}){peak}"
