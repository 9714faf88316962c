"""Models that take whole utterances, on speech that is still coming: LocalAgreement.

Macháček et al. 2023, "Turning Whisper into real-time transcription system": the audio so far is recognised anew every
second, and the words that two looks in a row agree on are certain. What is certain up to the end of a sentence is a
final segment, and its audio is cut off, so that there is never much to look at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from asr.transcribe.recognized import Recognized
from asr.transcribe.requests import RequestOptions
from asr.transcribe.segmentation import Span
from asr.transcribe.streaming.decoder import Update, num_common
from asr.transcribe.subtitles import ends_sentence
from asr.types import Segment, Word

Recognize = Callable[[Sequence[Span], Sequence[RequestOptions]], list[Recognized]]


@dataclass(eq=False)
class _Window:
    """See `LiveUtterance`: the audio of an utterance that is looked at, and what the last look found in it."""

    first: int  # sample of the stream
    options: RequestOptions
    samples: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    looked_at: int = 0  # samples that the last look saw
    words: tuple[str, ...] = ()  # that it found
    certain: tuple[str, ...] = ()
    has_text: bool = False
    changed_at: int = 0  # samples when the last word was added
    rate: int = 16000

    @property
    def quiet(self) -> float:
        return (self.looked_at - self.changed_at) / self.rate


class AgreementDecoder:
    """A model that takes whole utterances, with all guards of the offline path: `recognize`. See `LiveDecoder`.

    It looks whenever `step_seconds` are new, less often where it cannot keep up, at no more than `max_seconds` where
    words have times: what is certain then goes into a segment without waiting for the end of a sentence.
    """

    def __init__(
        self,
        recognize: Recognize,
        check: Callable[[RequestOptions], object],
        sample_rate: int,
        *,
        step_seconds: float = 1.0,
        max_seconds: float = 15.0,
    ) -> None:
        self._recognize = recognize
        self._check = check
        self._rate = sample_rate
        self._step = round(step_seconds * sample_rate)
        self._max = round(max_seconds * sample_rate)

    def open(self, first: int, options: RequestOptions) -> _Window:
        """See `LiveDecoder`."""
        self._check(options)
        return _Window(first, options, rate=self._rate)

    def advance(
        self,
        utterances: Sequence[_Window],
        samples: Sequence[np.ndarray],
        silence: Sequence[float | None],
        behind: Sequence[bool] = (),
    ) -> list[Update]:
        """See `LiveDecoder`."""
        for window, new in zip(utterances, samples, strict=True):
            window.samples = np.concatenate([window.samples, new])
        late = behind or [False] * len(utterances)
        due = [
            place
            for place, (window, quiet, is_behind) in enumerate(zip(utterances, silence, late, strict=True))
            if quiet is not None or (len(window.samples) - window.looked_at >= self._step and not is_behind)
        ]
        updates = [Update(None)] * len(utterances)
        if not due:
            return updates
        spans = [self._span(utterances[place]) for place in due]
        found = self._recognize(spans, [utterances[place].options for place in due])
        for place, one in zip(due, found, strict=True):
            window = utterances[place]
            if silence[place] is not None:
                updates[place] = Update((), one.segments)
            else:
                updates[place] = self._look(window, one.segments)
        return updates

    def _span(self, window: _Window) -> Span:
        end = window.first + len(window.samples)
        return Span(window.first, window.samples, self._rate, (window.first, end))

    def _look(self, window: _Window, segments: Sequence[Segment]) -> Update:
        """What is certain after another look: words to show, and segments that are cut off."""
        words = tuple(word for segment in segments for word in segment.text.split())
        agreed = words[: num_common(words, window.words)]
        if num_common(agreed, window.certain) == len(window.certain):  # else what was shown stays, for now
            window.certain = agreed
        if words != window.words:
            window.changed_at = len(window.samples)
        window.has_text = window.has_text or bool(words)
        window.words, window.looked_at = words, len(window.samples)
        return self._cut(window, segments)

    def _cut(self, window: _Window, segments: Sequence[Segment]) -> Update:
        timed = [word for segment in segments for word in segment.words]
        if tuple(word.text.strip() for word in timed) != window.words:  # without times nothing can be cut
            return Update(window.certain)
        count = self._num_final(window, timed)
        if not count:
            return Update(window.certain)
        final = _first_words(segments, count)
        cut = min(max(window.first, math.ceil(timed[count - 1].end * self._rate)), window.first + len(window.samples))
        dropped = cut - window.first
        window.first, window.samples = cut, window.samples[dropped:].copy()
        window.looked_at -= dropped
        window.changed_at -= dropped
        window.words, window.certain = window.words[count:], window.certain[count:]
        return Update(window.certain, final)

    def _num_final(self, window: _Window, words: Sequence[Word]) -> int:
        """How many words are final: those of whole sentences that are certain, of a long window as many as may be.

        A long window without the end of a sentence is cut in its longest pause, where no word is hurt.
        """
        certain = len(window.certain) if window.certain == window.words[: len(window.certain)] else 0
        for count in range(certain, 0, -1):
            if count < len(words) and ends_sentence(words[count - 1].text.strip()):
                return count
        if len(window.samples) <= self._max or not certain:
            return 0
        pauses = {count: _pause_after(words, count) for count in range(certain, certain // 2, -1)}
        return max(pauses, key=lambda count: pauses[count])


def _pause_after(words: Sequence[Word], count: int) -> float:
    """Seconds of silence behind the first `count` words, none behind all of them."""
    return words[count].start - words[count - 1].end if count < len(words) else 0.0


def _first_words(segments: Sequence[Segment], count: int) -> tuple[Segment, ...]:
    """The segments up to their first `count` words."""
    kept: list[Segment] = []
    for segment in segments:
        if count <= 0:
            break
        if len(segment.words) > count:
            words = segment.words[:count]
            text = " ".join(word.text.strip() for word in words)
            segment = replace(segment, words=words, text=text, end=words[-1].end)
        kept.append(segment)
        count -= len(segment.words)
    return tuple(kept)
