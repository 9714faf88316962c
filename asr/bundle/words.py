"""Words with times and confidence: the one way from tokens whose encoder frames are known to seconds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from asr.alignment.confidence import Measure, text_confidence, word_confidences
from asr.alignment.spans import word_times_of_spans
from asr.alignment.timing import loudness, word_times
from asr.bundle.loops import looped_words
from asr.text.tokenizer import Tokenizer, WordSpan
from asr.text.tokenizer.word_breaks import joined
from asr.types import Word

LOOP_CONFIDENCE = 0.1  # a word below it that only repeats others has nothing in the audio for it


@dataclass(frozen=True)
class TokenPlaces:
    """Where tokens (U,) are in an utterance, and how likely they are, as far as a model knows."""

    frames: np.ndarray | None = None  # (U, 2): first encoder frame of each token, and the one after its last
    log_probs: Tensor | None = None  # (S, V) by frame, on the CPU: of a CTC head
    probabilities: np.ndarray | None = None  # (U,) of tokens: of a decoder
    touching: bool = False  # every frame belongs to some token, those of silence too


NOWHERE = TokenPlaces()


@dataclass(frozen=True)
class PlacedWords:
    """The words of a token sequence (U,) and where they are in an utterance.

    Confidences need a CTC head or a decoder that tells them; frames need one of them, or a search that knows them.
    Where there is a CTC head, but the tokens do not fit into the utterance, confidences are 0 and there are no frames.
    """

    words: tuple[WordSpan, ...]
    confidences: tuple[float, ...] | None = None  # 0..1
    token_frames: np.ndarray | None = None  # (U, 2): first encoder frame of each token, and the one after its last
    between: str = " "  # what stands between the words of a text
    touching: bool = False  # `TokenPlaces.touching`
    is_shortened: bool = False  # whether words of loops were dropped

    @property
    def is_timed(self) -> bool:
        """Whether `timed` gives the words."""
        return self.confidences is not None or self.token_frames is not None

    @property
    def text(self) -> str:
        """The words as one text."""
        return joined(self.words, self.between)

    @property
    def confidence(self) -> float | None:
        """That of the text; None without words or confidences."""
        return text_confidence(self.confidences or ())

    def without_loops(self) -> PlacedWords:
        """Less the words of loops in which the audio gives no confidence."""
        looped = looped_words([word.text for word in self.words])
        if self.confidences is not None and not self.touching:  # a decoder is sure of its loops
            looped = {place for place in looped if self.confidences[place] < LOOP_CONFIDENCE}
        kept = [place for place in range(len(self.words)) if place not in looped]
        confidences = None if self.confidences is None else tuple(self.confidences[place] for place in kept)
        words = tuple(self.words[place] for place in kept)
        return replace(self, words=words, confidences=confidences, is_shortened=len(kept) < len(self.words))

    def timed(self, waveform: np.ndarray, sample_rate: int, frame_seconds: float) -> tuple[Word, ...]:
        """The words in seconds of the utterance, whose samples (N,) tell where speech ends and pauses begin.

        Words that do not fit into the utterance share its time by their numbers of tokens. There are none where nobody
        knows the frames. `frame_seconds` is the time of an encoder frame.
        """
        if not (self.is_timed and self.words):
            return ()
        duration = len(waveform) / sample_rate
        if self.token_frames is not None:
            spikes = _spans(self.words, self.token_frames * frame_seconds)
            find_times = word_times_of_spans if self.touching else word_times
            times = find_times(spikes, loudness(waveform, sample_rate), duration)
        else:
            tokens = np.cumsum([0, *(word.stop - word.start for word in self.words)])
            times = list(itertools.pairwise((tokens * (duration / tokens[-1])).tolist()))
        confidences = self.confidences or [None] * len(self.words)
        return tuple(
            Word(first, last, word.text, confidence)
            for word, (first, last), confidence in zip(self.words, times, confidences, strict=True)
        )


def _spans(words: Sequence[WordSpan], token_seconds: np.ndarray) -> list[tuple[float, float]]:
    """From the beginning of the first token of each word to the end of its last; words of one token share its time."""
    sharing: dict[int, list[int]] = {}
    for place, word in enumerate(words):
        for token in range(word.start, word.stop):
            sharing.setdefault(token, []).append(place)

    def edge(place: int, token: int, side: int) -> float:
        first, last = token_seconds[token].tolist()
        own = sharing[token]
        return float(first + (last - first) * (own.index(place) + side) / len(own))

    return [(edge(place, word.start, 0), edge(place, word.stop - 1, 1)) for place, word in enumerate(words)]


def place_words(tokenizer: Tokenizer, tokens: Sequence[int], places: TokenPlaces, measure: Measure) -> PlacedWords:
    """The words of tokens (U,), with their places and confidences as far as these are known.

    With a CTC head a word is as sure as the least sure of its tokens, by `measure`; with a decoder the mean probability
    of its tokens counts.
    """
    words = tokenizer.words(tokens)
    confidences: list[float] | None = None
    if places.log_probs is not None:
        confidences = word_confidences(words, places.log_probs, tokens, places.frames, measure)
    elif places.probabilities is not None:
        confidences = [float(places.probabilities[word.start : word.stop].mean()) for word in words]
    own = None if confidences is None else tuple(confidences)
    return PlacedWords(tuple(words), own, places.frames, tokenizer.between_words, places.touching)
