"""What a session asks of whatever turns the speech of an utterance into text, and how models that stream do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from asr.bundle.recognition import Decoded, DecodeOptions
from asr.bundle.streaming import DecodedStream, StreamingDecoder
from asr.transcribe.requests import RequestOptions
from asr.transcribe.segmentation import Span
from asr.types import Segment


class Update(NamedTuple):
    """What has become known of an utterance."""

    shown: tuple[str, ...] | None  # the words of it so far that are likely to stay; None: as before
    segments: tuple[Segment, ...] = ()  # that will not change; `shown` counts from their ends on


class LiveUtterance(Protocol):
    """One utterance that is being spoken."""

    @property
    def has_text(self) -> bool:
        """Whether any word was found in it."""
        ...

    @property
    def quiet(self) -> float:
        """Seconds, up to now, in which nothing was found."""
        ...


class LiveDecoder(Protocol):
    """Recognises utterances of many streams together. Utterances are changed in place, by one thread at a time."""

    def open(self, first: int, options: RequestOptions) -> Any:
        """A `LiveUtterance` that begins at a sample of its stream; ConfigError for options that cannot be followed."""
        ...

    def advance(
        self,
        utterances: Sequence[Any],
        samples: Sequence[np.ndarray],
        silence: Sequence[float | None],
        behind: Sequence[bool] = (),
    ) -> list[Update]:
        """Give each utterance its next samples (N,).

        `silence` is None as long as it goes on; else it ends here, with so many seconds of silence, and its update
        holds the rest of its segments. Of those that are `behind` the next samples wait already: an expensive look
        may be put off until they are there, too.
        """
        ...


MakeSegments = Callable[[Span, Decoded, RequestOptions], tuple[Segment, ...]]


@dataclass(eq=False)
class _Utterance:
    """See `LiveUtterance`."""

    decoder: StreamingDecoder
    stream: DecodedStream
    first: int
    options: RequestOptions
    history: list[tuple[str, ...]]  # the words of the last looks
    num_samples: int = 0

    @property
    def has_text(self) -> bool:
        return bool(self.stream.tokens)

    @property
    def quiet(self) -> float:
        return self.decoder.quiet_seconds(self.stream)


class ChunkedDecoder:
    """A model that streams. See `LiveDecoder`.

    A word is shown once it was the same in `stable_after` looks; the last one, where words have several pieces, when
    it has not grown since the last look. `tail` seconds of silence stand behind every utterance, if need be by added
    zeros. `decode_options` and `make_segments` are those of the offline path.
    """

    def __init__(
        self,
        decoder: StreamingDecoder,
        sample_rate: int,
        decode_options: Callable[[RequestOptions], DecodeOptions],
        make_segments: MakeSegments,
        *,
        tail: float = 0.4,
        stable_after: int = 1,
        words_grow: bool = True,
    ) -> None:
        self._decoder = decoder
        self._rate = sample_rate
        self._decode_options = decode_options
        self._make_segments = make_segments
        self._tail = tail
        self._stable_after = stable_after
        self._words_grow = words_grow

    def open(self, first: int, options: RequestOptions) -> _Utterance:
        """See `LiveDecoder`."""
        return _Utterance(self._decoder, self._decoder.start(self._decode_options(options)), first, options, [()])

    def advance(
        self,
        utterances: Sequence[_Utterance],
        samples: Sequence[np.ndarray],
        silence: Sequence[float | None],
        behind: Sequence[bool] = (),
    ) -> list[Update]:
        """See `LiveDecoder`."""
        padded = [
            new if quiet is None else np.pad(new, (0, max(0, round((self._tail - quiet) * self._rate))))
            for new, quiet in zip(samples, silence, strict=True)
        ]
        for utterance, new in zip(utterances, samples, strict=True):
            utterance.num_samples += len(new)
        streams = [utterance.stream for utterance in utterances]
        looked = self._decoder.advance(streams, padded, [quiet is not None for quiet in silence])
        return [
            self._final(utterance) if quiet is not None else Update(self._shown(utterance) if is_new else None)
            for utterance, quiet, is_new in zip(utterances, silence, looked, strict=True)
        ]

    def _shown(self, utterance: _Utterance) -> tuple[str, ...]:
        """The words that a look found and that are likely to stay."""
        words = tuple(self._decoder.words(utterance.stream))
        before = utterance.history[-1]
        utterance.history = [*utterance.history, words][-max(2, self._stable_after) :]
        if self._words_grow and words and words != before[: len(words)]:
            words = words[:-1]
        for look in utterance.history[-self._stable_after :]:
            words = words[: num_common(words, look)]
        return words

    def _final(self, utterance: _Utterance) -> Update:
        decoded = self._decoder.finish(utterance.stream, utterance.num_samples)
        waveform = np.zeros(utterance.num_samples, dtype=np.float32)  # whose length alone counts here
        end = utterance.first + utterance.num_samples
        span = Span(utterance.first, waveform, self._rate, (utterance.first, end))
        return Update((), self._make_segments(span, decoded, utterance.options))


def num_common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many first words are the same."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
