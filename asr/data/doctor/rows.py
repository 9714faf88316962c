"""What a row must have, going by its text and duration alone. Reads no audio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asr.text.normalize import normalize
from asr.types import Utterance

if TYPE_CHECKING:
    from asr.data.doctor.model import ModelNeeds


@dataclass(frozen=True)
class Requirements:
    """Limits of every row, and what a model needs besides."""

    normalizer: str = "basic"  # of texts, before they are spelled, counted and compared
    min_duration: float = 0.05  # seconds, included
    max_duration: float = 40.0  # seconds, included
    model: ModelNeeds | None = None

    def faults(self, text: str, duration: float) -> Iterator[tuple[str, str]]:
        """Code and reason of everything wrong with a text said in so many seconds; TextError for no normaliser."""
        text = normalize(text, self.normalizer)
        if not text:
            yield "empty_text", "no text is left after normalisation"
        elif self.model and (unknown := self.model.tokenizer.unknown_characters(text)):
            yield "unknown_token", f"the tokenizer cannot spell {' '.join(map(repr, unknown))}"
        if duration < self.min_duration:
            yield "too_short", f"{duration:.3f} s, at least {self.min_duration:g} s are asked for"
        elif self.model and not self.model.feature_len(duration):
            yield "too_short", f"{duration:.3f} s give no feature frame"
        elif duration > self.max_duration:
            yield "too_long", f"{duration:.2f} s, at most {self.max_duration:g} s are asked for"
        if self.model and (reason := self.model.infeasible(text, duration)):
            yield "ctc_infeasible", reason


@dataclass(frozen=True)
class Rejected:
    """A row that was set aside."""

    utterance: Utterance
    code: str
    reason: str  # for people: what is wrong with this row


def check_rows(utterances: Iterable[Utterance], requirements: Requirements) -> tuple[list[Utterance], list[Rejected]]:
    """The rows to train on, and the others with the first fault of each."""
    kept: list[Utterance] = []
    rejected: list[Rejected] = []
    for utterance in utterances:
        fault = next(requirements.faults(utterance.text, utterance.duration), None)
        if fault is None:
            kept.append(utterance)
        else:
            rejected.append(Rejected(utterance, *fault))
    return kept, rejected
