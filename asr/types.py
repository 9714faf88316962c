"""The values that travel between layers: frozen, named, free of behaviour.

Shapes: B batch, T feature frames, F features, U tokens, S encoder frames (S <= T), D model dim, V vocabulary.
Every padded tensor has an int64 length tensor beside it, counted in that tensor's own frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAIN_TOKENIZER = "main"  # what a model's first tokenizer is called


@dataclass(frozen=True)
class Utterance:
    """One row of a manifest: a stretch of speech and what was said."""

    id: str
    audio: Path  # absolute once read; relative to the manifest on disk
    duration: float  # seconds
    text: str = ""
    start: float = 0.0  # seconds into the audio file
    speaker: str | None = None
    lang: str | None = None


@dataclass(frozen=True)
class Example:
    """One utterance ready for a batch."""

    id: str
    features: Tensor  # (T, F) float32
    tokens: Tensor  # (U,) int64, without SOS and EOS
    further_tokens: Mapping[str, Tensor] = field(default_factory=dict)  # those of further tokenizers, by their names


@dataclass(frozen=True)
class Unreadable:
    """An utterance that had to be left out of a batch."""

    id: str
    reason: str


@dataclass(frozen=True)
class Targets:
    """What utterances say, in the tokens of one tokenizer."""

    tokens: Tensor  # (B, U) int64, without SOS and EOS
    lens: Tensor  # (B,) int64
    host_lens: Tensor | None = None  # `lens` on the CPU, once they are elsewhere

    @property
    def readable_lens(self) -> Tensor:
        """Lengths for code that reads their values: to read those on a GPU, the host would have to wait."""
        return self.lens if self.host_lens is None else self.host_lens

    def to(self, device: torch.device | str) -> Targets:
        """The same on another device; the copy may overlap with computation if the memory is pinned."""
        tokens, lens = (tensor.to(device, non_blocking=True) for tensor in (self.tokens, self.lens))
        return Targets(tokens, lens, self.readable_lens)


@dataclass(frozen=True)
class Batch:
    """Examples padded to the longest; what lies beyond a length is arbitrary and must not matter.

    Without any row, all sizes are 0. With V views of each utterance, rows [0, B/V) are the first views, and so on.
    """

    ids: tuple[str, ...]
    features: Tensor  # (B, T, F) float32
    feature_lens: Tensor  # (B,) int64
    tokens: Tensor  # (B, U) int64, without SOS and EOS: those of the main tokenizer
    token_lens: Tensor  # (B,) int64
    host_lens: tuple[Tensor, Tensor] | None = None  # feature_lens and token_lens on the CPU, once they are elsewhere
    unreadable: tuple[Unreadable, ...] = ()  # utterances that belong here and could not be loaded
    num_views: int = 1  # differently masked copies of each utterance
    further: Mapping[str, Targets] = field(default_factory=dict)  # of further tokenizers, by their names

    @property
    def num_utterances(self) -> int:
        """Utterances, each counted once however many views of it there are."""
        return len(self.ids) // self.num_views

    @property
    def readable_lens(self) -> tuple[Tensor, Tensor]:
        """Feature and token lengths for code that reads their values: those of a GPU would make the host wait."""
        return self.host_lens or (self.feature_lens, self.token_lens)

    def targets(self, tokenizer: str) -> Targets:
        """The texts in the tokens of one of the model's tokenizers."""
        if tokenizer == MAIN_TOKENIZER:
            return Targets(self.tokens, self.token_lens, self.readable_lens[1])
        return self.further[tokenizer]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device; the copy may overlap with computation if the memory is pinned."""
        return replace(
            self,
            features=self.features.to(device, non_blocking=True),
            feature_lens=self.feature_lens.to(device, non_blocking=True),
            tokens=self.tokens.to(device, non_blocking=True),
            token_lens=self.token_lens.to(device, non_blocking=True),
            host_lens=self.readable_lens,
            further={name: targets.to(device) for name, targets in self.further.items()},
        )

    def rows(self, rows: Tensor) -> Batch:
        """Some rows (N,) of the batch, as padded as it is; its views stay together if `rows` say so."""
        own = rows.to(self.features.device)
        further = {name: Targets(each.tokens[own], each.lens[own]) for name, each in self.further.items()}
        return Batch(
            ids=tuple(self.ids[row] for row in rows.tolist()),
            features=self.features[own],
            feature_lens=self.feature_lens[own],
            tokens=self.tokens[own],
            token_lens=self.token_lens[own],
            num_views=self.num_views,
            further=further,
        )


@dataclass(frozen=True)
class EncoderOutput:
    """What an encoder makes of a batch."""

    frames: Tensor  # (B, S, D)
    lens: Tensor  # (B,) int64
    intermediate: tuple[Tensor, ...] = ()  # (B, S, V) log-probabilities of each intermediate CTC layer
    host_lens: Tensor | None = None  # `lens` on the CPU, where they are known without waiting for a GPU

    @property
    def readable_lens(self) -> Tensor:
        """Lengths for code that reads their values."""
        return self.lens if self.host_lens is None else self.host_lens


@dataclass(frozen=True)
class TokenSegment:
    """A stretch of a text to which a model that writes timestamps gave a time."""

    first: int  # token
    stop: int  # exclusive
    start: int  # encoder frame
    end: int  # exclusive


@dataclass(frozen=True)
class Hypothesis:
    """A result of a search. Searches keep their running state in types of their own."""

    tokens: tuple[int, ...]
    score: float  # natural log, total after weights
    parts: dict[str, float] = field(default_factory=dict)  # "ctc", "attention", "lm", "length"; they sum to the score
    spans: tuple[tuple[int, int], ...] | None = None  # (U, 2) first encoder frame of each token and the one after its
    # last; None if the search cannot tell
    language: str | None = None  # as far as the search knows it
    measures: dict[str, float] = field(default_factory=dict)  # what else is known of it: avg_logprob, no_speech, ...
    segments: tuple[TokenSegment, ...] = ()  # in order, all tokens; none of a model that writes no timestamps


@dataclass(frozen=True)
class Word:
    """A word with its place in the audio."""

    start: float  # seconds
    end: float  # seconds
    text: str
    confidence: float | None = None  # 0..1; None where the search gives none


@dataclass(frozen=True)
class Segment:
    """A stretch of audio with its text."""

    start: float  # seconds
    end: float  # seconds
    text: str
    words: tuple[Word, ...] = ()
    confidence: float | None = None
    channel: int | None = None  # from 0, where the channels of a recording were transcribed apart
    language: str | None = None  # as far as the model knows it
    measures: Mapping[str, float] = field(default_factory=dict)  # avg_logprob, no_speech, compression_ratio


@dataclass(frozen=True)
class Transcript:
    """The segments of one recording in time order; those of different channels may overlap."""

    segments: tuple[Segment, ...]
    language: str | None = None  # the one spoken for longest, as far as the model knows
    uncovered: tuple[tuple[float, float], ...] = ()  # seconds with speech for which there is no text, from and up to

    @property
    def text(self) -> str:
        """The segments' texts joined by spaces."""
        return " ".join(segment.text for segment in self.segments if segment.text)
