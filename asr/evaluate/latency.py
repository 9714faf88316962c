"""How late and how steadily words appear while somebody speaks: from what was shown when to figures.

Times are seconds of a recording that is played at its own speed; computation counts as it was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from asr.scoring.wer import align_words
from asr.types import Word


@dataclass(frozen=True)
class Shown:
    """What the reader saw from some moment on: all words so far, final ones first."""

    time: float
    words: tuple[str, ...]
    num_final: int


@dataclass
class Timeline:
    """One utterance: what was shown when, its last entry the final text, and where its reference words are."""

    shown: list[Shown] = field(default_factory=list)
    reference: Sequence[Word] = ()  # by forced alignment of the reference text; () where nobody knows

    @property
    def words(self) -> tuple[str, ...]:
        """The final words."""
        return self.shown[-1].words if self.shown else ()

    def first_partial(self) -> float | None:
        """Seconds from the beginning of the first word to the first word on the screen."""
        first = next((look.time for look in self.shown if look.words), None)
        return None if first is None or not self.reference else first - self.reference[0].start

    def finalisation(self) -> float | None:
        """Seconds from the end of the last word to the last final segment."""
        last = next((look.time for look in reversed(self.shown) if look.num_final), None)
        return None if last is None or not self.reference else last - self.reference[-1].end

    def emission_delays(self) -> list[float]:
        """For each right word the seconds from its end to the moment since which it stands there for good."""
        if not self.reference:
            return []
        since = self._standing_since()
        pairs = align_words(" ".join(word.text for word in self.reference), " ".join(self.words))
        delays, place, own = [], 0, 0
        for pair in pairs:
            if pair.reference is not None and pair.hypothesis is not None and not pair.is_error:
                delays.append(since[own] - self.reference[place].end)
            place += pair.reference is not None
            own += pair.hypothesis is not None
        return delays

    def changes(self) -> tuple[int, int]:
        """How many words were shown, and how many of these did not stay: another word, or none, took their place."""
        shown = {(place, word) for look in self.shown for place, word in enumerate(look.words)}
        final = set(enumerate(self.words))
        return len(shown), len(shown - final)

    def _standing_since(self) -> list[float]:
        """For each final word the moment since which it stands at its place."""
        since = []
        for place, word in enumerate(self.words):
            time = self.shown[-1].time
            for look in reversed(self.shown):
                if look.words[place : place + 1] != (word,):
                    break
                time = look.time
            since.append(time)
        return since


@dataclass(frozen=True)
class Spread:
    """Values of many, as percentiles; None of none."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread:
        """Without the unknown ones."""
        return cls(tuple(value for value in values if value is not None))

    def percentile(self, share: float) -> float | None:
        """`share` in percent."""
        return float(np.percentile(self.values, share)) if self.values else None

    @property
    def mean(self) -> float | None:
        """Of all values; None of none."""
        return float(np.mean(self.values)) if self.values else None

    def to_json(self) -> dict[str, Any]:
        """p50, p95, mean and number."""
        return {"p50": self.percentile(50), "p95": self.percentile(95), "mean": self.mean, "count": len(self.values)}


@dataclass(frozen=True)
class Latency:
    """The figures of many utterances."""

    first_partial: Spread
    finalisation: Spread
    emission: Spread
    shown_words: int
    changed_words: int

    @classmethod
    def of(cls, timelines: Iterable[Timeline]) -> Latency:
        """Of all utterances together."""
        lines = list(timelines)
        counts = [line.changes() for line in lines]
        return cls(
            Spread.of(line.first_partial() for line in lines),
            Spread.of(line.finalisation() for line in lines),
            Spread.of(delay for line in lines for delay in line.emission_delays()),
            sum(shown for shown, _ in counts),
            sum(changed for _, changed in counts),
        )

    @property
    def changed_share(self) -> float | None:
        """Of all words shown those that did not stay; None without any."""
        return self.changed_words / self.shown_words if self.shown_words else None

    def to_json(self) -> dict[str, Any]:
        """Seconds and shares."""
        return {
            "first_partial": self.first_partial.to_json(),
            "finalisation": self.finalisation.to_json(),
            "emission_delay": self.emission.to_json(),
            "shown_words": self.shown_words,
            "changed_words": self.changed_words,
            "changed_share": self.changed_share,
        }
