"""Words with times and confidence: the one way from tokens whose encoder frames are known to seconds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from asr.alignment.confidence import Measure, text_confidence, word_confidences
from asr.alignment.timing import loudness, word_times
from asr.bundle.loops import looped_words
from asr.text.tokenizer import Tokenizer, WordSpan
from asr.types import Word

LOOP_CONFIDENCE = 0.1  # a word below it that only repeats others has nothing in the audio for it


@dataclass(frozen=True)
class PlacedWords:
    """The words of a token sequence (U,) and where they are in an utterance.

    Confidences need a CTC head; frames need one, or another head or a search that knows them. Where there is a CTC
    head, but the tokens do not fit into the utterance, confidences are 0 and there are no frames.
    """

    words: tuple[WordSpan, ...]
    confidences: tuple[float, ...] | None = None  # 0..1
    token_frames: np.ndarray | None = None  # (U, 2): first encoder frame of each token, and the one after its last
    between: str = " "  # what stands between the words of a text
    is_shortened: bool = False  # whether words of loops were dropped

    @property
    def is_timed(self) -> bool:
        """Whether `timed` gives the words."""
        return self.confidences is not None or self.token_frames is not None

    @property
    def text(self) -> str:
        """The words as one text."""
        return self.between.join(word.text for word in self.words)

    @property
    def confidence(self) -> float | None:
        """That of the text; None without words or confidences."""
        return text_confidence(self.confidences or ())

    def without_loops(self) -> PlacedWords:
        """Less the words of loops in which the audio gives no confidence."""
        looped = looped_words([word.text for word in self.words])
        if self.confidences is not None:
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
            seconds = (self.token_frames * frame_seconds).tolist()
            spikes = [(seconds[word.start][0], seconds[word.stop - 1][1]) for word in self.words]
            times = word_times(spikes, loudness(waveform, sample_rate), duration)
        else:
            tokens = np.cumsum([0, *(word.stop - word.start for word in self.words)])
            times = list(itertools.pairwise((tokens * (duration / tokens[-1])).tolist()))
        confidences = self.confidences or [None] * len(self.words)
        return tuple(
            Word(first, last, word.text, confidence)
            for word, (first, last), confidence in zip(self.words, times, confidences, strict=True)
        )


def place_words(
    tokenizer: Tokenizer,
    tokens: Sequence[int],
    token_frames: np.ndarray | None,
    log_probs: Tensor | None,
    measure: Measure,
) -> PlacedWords:
    """The words of tokens (U,) that are in frames (U, 2) of log-probabilities (S, V), as far as these are known."""
    words = tokenizer.words(tokens)
    if log_probs is None:
        return PlacedWords(tuple(words), None, token_frames, tokenizer.between_words)
    confidences = word_confidences(words, log_probs, tokens, token_frames, measure)
    return PlacedWords(tuple(words), tuple(confidences), token_frames, tokenizer.between_words)
