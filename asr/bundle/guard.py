"""Whether a text that a decoder wrote can be trusted, and where it ends.

weak guard     of texts from a whole window: loops, more tokens than people say, a low likelihood
strong guard   of texts from less than a window: besides, a run of tokens twice, or speech after the end of the text
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from asr.bundle.loops import compression_ratio, has_repeated_ngram, is_loop, is_too_fast
from asr.decoding.measures import AVG_LOGPROB, COMPRESSION
from asr.text.tokenizer import Tokenizer
from asr.types import EncoderOutput, Hypothesis

MIN_AVG_LOGPROB = -1.0
MAX_REST_SECONDS = 1.0  # of speech after the last timestamp: with less than a window, models stop early now and then
END_SECONDS = 0.25  # a timestamp so near to the end of a clip is the end: what follows it was not said


@dataclass(frozen=True)
class Clips:
    """The audio behind the rows of an encoder's output."""

    seconds: Sequence[float]  # without any silence that was added
    speech_ends: Sequence[float]  # where speech ends in it, or the audio, where that is not known
    in_full: Callable[[Sequence[int]], EncoderOutput] | None = None  # some rows again, each as a whole window; None
    # where all are

    def select(self, rows: Sequence[int]) -> Clips:
        """Some rows, which need no more than they have."""
        return Clips([self.seconds[row] for row in rows], [self.speech_ends[row] for row in rows])


def is_suspicious(hypothesis: Hypothesis, tokenizer: Tokenizer, seconds: float) -> bool:
    """The weak guard: whether a text of a clip of so many seconds should be decoded otherwise."""
    tokens = hypothesis.tokens
    if is_too_fast(len(tokens), seconds) or is_loop(tokenizer.decode(tokens)):
        return True
    return bool(tokens) and hypothesis.measures.get(AVG_LOGPROB, 0.0) < MIN_AVG_LOGPROB


def is_doubtful(
    hypothesis: Hypothesis, tokenizer: Tokenizer, seconds: float, speech_end: float, frame_seconds: float
) -> bool:
    """The strong guard: whether a text from less than a window should be decoded from a whole one."""
    if is_suspicious(hypothesis, tokenizer, seconds) or has_repeated_ngram(hypothesis.tokens):
        return True
    if hypothesis.tokens and not hypothesis.segments:  # a text without timestamps
        return False
    reached = hypothesis.segments[-1].end * frame_seconds if hypothesis.segments else 0.0
    return speech_end - reached > MAX_REST_SECONDS


def end_with_clip(hypothesis: Hypothesis, tokenizer: Tokenizer, seconds: float, frame_seconds: float) -> Hypothesis:
    """A text without what comes after the first timestamp at the end of its clip, and how well it compresses."""
    last = round(seconds / frame_seconds)
    limit = (seconds - END_SECONDS) / frame_seconds
    kept = [one for one in hypothesis.segments if one.start < limit]
    if len(kept) < len(hypothesis.segments):
        stop = kept[-1].stop if kept else 0
        hypothesis = replace(hypothesis, tokens=hypothesis.tokens[:stop], spans=(hypothesis.spans or ())[:stop] or None)
    segments = tuple(replace(one, end=max(one.start, min(one.end, last))) for one in kept)
    ratio = compression_ratio(tokenizer.decode(hypothesis.tokens))
    return replace(hypothesis, segments=segments, measures=hypothesis.measures | {COMPRESSION: ratio})


def rank(hypothesis: Hypothesis, tokenizer: Tokenizer, seconds: float) -> tuple[bool, float]:
    """Among texts none of which can be trusted, the smallest is the one to keep: no loop, then the likeliest."""
    loops = is_too_fast(len(hypothesis.tokens), seconds) or is_loop(tokenizer.decode(hypothesis.tokens))
    return loops, -hypothesis.measures.get(AVG_LOGPROB, -math.inf)
