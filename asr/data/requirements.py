"""What a row must have to be learnt from, going by its text and duration alone. Reads no audio, imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.data.manifest.table import Selection
from asr.system.display import counted
from asr.text.normalize import normalize
from asr.types import Utterance

if TYPE_CHECKING:
    from asr.text.tokenizer import Tokenizer

CODES = ("empty_text", "unknown_token", "too_short", "too_long", "ctc_infeasible")  # as in `asr data check`
FOUND = np.dtype([("row", "<i8"), ("code", "u1")])  # code: a place in CODES
NUM_EXAMPLES = 5  # whose reasons are reported
LONGEST = 1e9  # seconds; more would overflow a length


@dataclass(frozen=True)
class ModelNeeds:
    """What a model needs of a row: pieces to spell its text with, and enough encoder frames for all its heads."""

    tokenizer: Tokenizer
    sample_rate: int  # Hz
    feature_len: Callable[[int], int]  # samples -> feature frames
    output_len: Callable[[int], int]  # feature frames -> encoder frames
    min_frames: tuple[tuple[Tokenizer, Callable[[Sequence[int]], int]], ...] = ()  # of each head: tokens -> frames
    max_speed: float = 1.0  # the fastest speed of augmentation, which leaves fewest frames

    def feature_frames(self, duration: float) -> int:
        """Feature frames of so many seconds at the fastest speed."""
        return self.feature_len(int(min(duration, LONGEST) / self.max_speed * self.sample_rate))

    def infeasible(self, text: str, feature_frames: int) -> str | None:
        """Why a head cannot learn a normalised text from so many feature frames; None if all heads can."""
        there = self.output_len(feature_frames) if feature_frames and self.min_frames else 0
        for tokenizer, min_frames in self.min_frames if feature_frames else ():
            tokens = tokenizer.encode(text)
            needed = min_frames(tokens)
            if there < needed:
                speed = f" at {self.max_speed:g} times the speed" if self.max_speed != 1 else ""
                need, frames = counted(len(tokens), "token needs", "tokens need"), counted(needed, "encoder frame")
                return f"{need} {frames}, there are {there}{speed}"
        return None


@dataclass(frozen=True)
class Requirements:
    """Limits of every row, and what a model needs besides."""

    normalizer: str = "basic"  # of texts, before they are spelled, counted and compared
    min_duration: float = 0.05  # seconds, included
    max_duration: float = 40.0  # seconds, included
    model: ModelNeeds | None = None

    def faults(self, text: str, duration: float) -> Iterator[tuple[str, str]]:
        """Code and reason of everything wrong with a text of so many seconds; TextError for an unknown normaliser."""
        return self.faults_of_normalized(normalize(text, self.normalizer), duration)

    def faults_of_normalized(self, text: str, duration: float) -> Iterator[tuple[str, str]]:
        """As `faults`, for a text that is normalised already."""
        if not text:
            yield "empty_text", "no text is left after normalisation"
        elif self.model and (unknown := self.model.tokenizer.unknown_characters(text)):
            yield "unknown_token", f"the tokenizer cannot spell {' '.join(map(repr, unknown))}"
        frames = self.model.feature_frames(duration) if self.model else None
        if duration < self.min_duration:
            yield "too_short", f"{duration:.3f} s, at least {self.min_duration:g} s are asked for"
        elif frames == 0:
            yield "too_short", f"{duration:.3f} s give no feature frame"
        elif duration > self.max_duration:
            yield "too_long", f"{duration:.2f} s, at most {self.max_duration:g} s are asked for"
        if self.model and frames and (reason := self.model.infeasible(text, frames)):
            yield "ctc_infeasible", reason


@dataclass(frozen=True)
class Rejected:
    """A row that was set aside."""

    utterance: Utterance
    code: str
    reason: str  # for people: what is wrong with this row


@dataclass(frozen=True)
class SetAside:
    """Which rows of a corpus were set aside, and why."""

    found: NDArray[np.void]  # of FOUND: row number and code of each, ascending
    examples: tuple[Rejected, ...]  # the first few

    @classmethod
    def collect(cls, found: NDArray[np.void], utterances: Sequence[Utterance], requirements: Requirements) -> SetAside:
        """With the reasons of the first few."""
        rows = [utterances[int(row)] for row in found["row"][:NUM_EXAMPLES]]
        return cls(found, tuple(Rejected(row, *next(requirements.faults(row.text, row.duration))) for row in rows))

    def __len__(self) -> int:
        return len(self.found)

    @property
    def counts(self) -> dict[str, int]:
        """How many rows were set aside for each code that occurs, by code."""
        numbers, counts = np.unique(self.found["code"], return_counts=True)
        return dict(sorted((CODES[number], int(count)) for number, count in zip(numbers, counts, strict=True)))

    def others(self, utterances: Sequence[Utterance]) -> Sequence[Utterance]:
        """The rows to train on; `utterances` are those of which these were set aside."""
        return Selection(utterances, self.found["row"].astype(np.int64)) if len(self) else utterances


def first_faults(rows: Iterable[tuple[str, float]], requirements: Requirements) -> NDArray[np.void]:
    """Of normalised texts and seconds, those with a fault: place and code of the first fault of each, as FOUND."""
    faults = (next(requirements.faults_of_normalized(*row), None) for row in rows)
    return np.array([(place, CODES.index(fault[0])) for place, fault in enumerate(faults) if fault], dtype=FOUND)


def check_rows(utterances: Sequence[Utterance], requirements: Requirements) -> SetAside:
    """The rows that cannot be trained on, each with its first fault."""
    rows = ((normalize(row.text, requirements.normalizer), row.duration) for row in utterances)
    return SetAside.collect(first_faults(rows, requirements), utterances, requirements)
