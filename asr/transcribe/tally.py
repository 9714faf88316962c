"""What became of the recordings of a run: how many are transcribed, and which of them without a word."""

from __future__ import annotations

from asr.system.display import counted
from asr.transcribe.files import Transcribed

MAX_NAMED = 3


class Tally:
    """Counts recordings that are transcribed, and keeps the names of those that gave no text."""

    def __init__(self) -> None:
        self.num_files = 0
        self.kept = ""  # what became of a recording that Ctrl-C broke off
        self.incomplete: list[str] = []  # lines about recordings of which only a part could be read
        self._uncovered: list[tuple[str, float, float]] = []  # recording and seconds of speech without text
        self.tells_narrow = False  # whether to warn of recordings without anything above 4 kHz
        self._narrow: list[str] = []
        self.tells_untimed = False  # whether to warn of texts whose words have no times
        self._untimed: list[str] = []
        self._names: dict[str, list[str]] = {"no speech found": [], "no words recognised": []}

    def add(self, done: Transcribed) -> None:
        """Take one recording more."""
        self.num_files += 1
        if done.fault is not None:
            self.incomplete.append(f"{done.fault} (its first {done.source.duration:.1f} s are transcribed)")
        for start, end in done.transcript.uncovered:
            self._uncovered.append((done.source.audio, start, end))
        if done.is_narrow and done.has_speech:
            self._narrow.append(done.source.audio)
        if done.transcript.text and not any(segment.words for segment in done.transcript.segments):
            self._untimed.append(done.source.audio)
        if not done.transcript.text:
            reason = "no words recognised" if done.has_speech else "no speech found"
            self._names[reason].append(done.source.audio)

    def warnings(self) -> list[str]:
        """What was cut short, and `30 of 30 files: no words recognised`; few are named, a recording alone, too."""
        empty = [f"{self._which(names)}: {reason}" for reason, names in self._names.items() if names]
        return [*self.incomplete, *empty, *self._without_text(), *self._without_times(), *self._of_a_telephone()]

    def _of_a_telephone(self) -> list[str]:
        if not (self._narrow and self.tells_narrow):
            return []
        return [
            f"{self._which(self._narrow)}: nothing above 4 kHz, as from a telephone or a file of 8 kHz; a model that "
            "learnt from other recordings makes more errors"
        ]

    def _without_times(self) -> list[str]:
        if not (self._untimed and self.tells_untimed):
            return []
        return [
            f"{self._which(self._untimed)}: words have no times, which this model cannot tell; ctm has none of them, "
            "TextGrids have segments alone"
        ]

    def _without_text(self) -> list[str]:
        """`no text for 2 stretches of what sounds like speech, 4.1 s in all: a.wav 12.0 to 14.5 s, ...`."""
        if not self._uncovered:
            return []
        seconds = sum(end - start for _, start, end in self._uncovered)
        shown = [f"{name} {start:.1f} to {end:.1f} s" for name, start, end in self._uncovered[:MAX_NAMED]]
        more = ", ..." if len(self._uncovered) > MAX_NAMED else ""
        number = counted(len(self._uncovered), "stretch", "stretches")
        what = f"no text for {number} of what sounds like speech, {seconds:.1f} s in all"
        return [f"{what}: {', '.join(shown)}{more} (`uncovered` in JSON)"]

    def _which(self, names: list[str]) -> str:
        if self.num_files == 1:
            return names[0]
        named = f" ({', '.join(names)})" if len(names) <= MAX_NAMED and len(names) < self.num_files else ""
        return f"{len(names)} of {counted(self.num_files, 'file')}{named}"
