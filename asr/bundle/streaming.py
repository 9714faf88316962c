"""Many streams through one model that can stream: samples in, the best tokens so far, and at the end `Decoded`.

samples -> front-end's stream -> encoder's step -> search's advance, partial; at the end finish, alignment, words

Every stream has states of its own; those whose next chunk is complete go through the encoder in one batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.bundle.backends.base import StreamingBackend
from asr.bundle.recognition import NOTHING, Decoded, DecodeOptions, SpeechModel, align_best
from asr.bundle.words import place_words
from asr.decoding.base import AnySearch
from asr.errors import ConfigError
from asr.features.base import FrontendStream
from asr.lengths import pad_stack
from asr.models.encoders.streaming import StreamState
from asr.text.tokenizer import Tokenizer
from asr.text.vocabulary import Vocabulary
from asr.types import EncoderOutput


@dataclass(eq=False)
class DecodedStream:
    """One utterance on its way through a model; of its past it holds samples and encoder frames."""

    options: DecodeOptions
    frontend: FrontendStream
    encoder: StreamState
    search: Any
    features: list[Tensor] = field(default_factory=list)  # that wait for the rest of their chunk
    samples: list[np.ndarray] = field(default_factory=list)
    frames: list[Tensor] = field(default_factory=list)  # (S, D) each
    num_frames: int = 0  # of the encoder
    tokens: tuple[int, ...] = ()  # the best so far
    changed_at: int = 0  # encoder frames when they last changed

    @property
    def num_waiting(self) -> int:
        """Feature frames that wait, those that the encoder's state holds included."""
        return sum(map(len, self.features)) + sum(map(len, self.encoder.pending))


class StreamingDecoder:
    """Decodes streams chunk by chunk; ConfigError for a model that cannot.

    A chunk of `chunk_seconds` is rounded to whole encoder frames, at least one; `left_seconds` of context, None for
    what the model was trained with, to whole chunks. A chunk waits for the `right_seconds` behind it, None for
    what the encoder's configuration says.
    """

    def __init__(
        self,
        bundle: SpeechModel,
        chunk_seconds: float,
        left_seconds: float | None = None,
        right_seconds: float | None = None,
    ) -> None:
        if not can_stream(bundle):
            raise ConfigError("this model cannot stream: its front-end or its encoder needs the whole utterance")
        backend = bundle.backend
        assert isinstance(backend, StreamingBackend)
        self._bundle = bundle
        self._backend = backend
        self.chunk_frames = max(1, round(chunk_seconds / bundle.frame_seconds))
        chunk = self.chunk_frames * bundle.frame_seconds
        self._left = None if left_seconds is None else max(0, -(-round(left_seconds * 1000) // round(chunk * 1000)))
        self._right = None if right_seconds is None else math.ceil(round(right_seconds / bundle.frame_seconds, 6))
        self._features_of_frame = round(bundle.frame_seconds / bundle.frontend.frame_seconds)

    def start(self, options: DecodeOptions) -> DecodedStream:
        """An utterance before its first sample."""
        prompts = None if options.prompt is None else [options.prompt]
        search = options.searcher.start(1, prompts, self._backend.device)
        encoder = self._backend.start_streams(1, self.chunk_frames, self._left, self._right)
        return DecodedStream(options, self._bundle.frontend.stream(), encoder, search)

    def advance(
        self, streams: Sequence[DecodedStream], samples: Sequence[np.ndarray], is_last: Sequence[bool]
    ) -> list[bool]:
        """Give each stream its next samples (N,); whether its best tokens may have changed, for each."""
        due = []
        for stream, new, last in zip(streams, samples, is_last, strict=True):
            stream.samples.append(new)
            stream.features.append(stream.frontend.push(new))
            if last:
                stream.features.append(stream.frontend.finish())
            if self._is_due(stream) or (last and stream.num_waiting):
                due.append((stream, last))
        for group in _by_searcher(due):
            self._encode([stream for stream, _ in group], [last for _, last in group])
        advanced = {id(stream) for stream, _ in due}
        return [id(stream) in advanced for stream in streams]

    def _is_due(self, stream: DecodedStream) -> bool:
        """Whether the next chunk and what it looks ahead at are there."""
        chunking = stream.encoder.chunking
        return stream.num_waiting >= (chunking.frames + chunking.right) * self._features_of_frame

    def _encode(self, streams: list[DecodedStream], is_last: list[bool]) -> None:
        """The encoder and the search over what waits, in one batch of streams that share a searcher."""
        features, lens = pad_stack([torch.cat(stream.features) for stream in streams])
        state = _joined([stream.encoder for stream in streams])
        encoded, state = self._backend.encode_step(features.to(self._backend.device), lens, state, is_last)
        searcher: AnySearch = streams[0].options.searcher
        with self._backend.running():
            found = searcher.advance(_joined([stream.search for stream in streams]), encoded)
            best = searcher.partial(found)
        for row, (stream, length) in enumerate(zip(streams, encoded.readable_lens.tolist(), strict=True)):
            index = torch.tensor([row], device=encoded.lens.device)
            stream.encoder = state if len(streams) == 1 else state.select(index)
            stream.search = found if len(streams) == 1 else found.select(index)
            stream.features = []  # what makes no chunk yet is in the state
            stream.frames.append(encoded.frames[row, :length])
            stream.num_frames += length
            if best[row] != stream.tokens:
                stream.tokens, stream.changed_at = best[row], stream.num_frames

    def words(self, stream: DecodedStream) -> list[str]:
        """The words of the best tokens so far."""
        vocabulary = stream.options.searcher.vocabulary
        return [word.text for word in tokenizer_of(self._bundle, vocabulary).words(stream.tokens)]

    def quiet_seconds(self, stream: DecodedStream) -> float:
        """For how long nothing has been found, in whole chunks."""
        return (stream.num_frames - stream.changed_at) * self._bundle.frame_seconds

    def finish(self, stream: DecodedStream, num_samples: int | None = None) -> Decoded:
        """What an utterance says after its last samples, of which the first `num_samples` are of the recording."""
        if not stream.num_frames:
            return NOTHING
        frames = torch.cat(stream.frames)[None]
        encoded = EncoderOutput(frames, torch.tensor([len(frames[0])], device=frames.device))
        searcher: AnySearch = stream.options.searcher
        with self._backend.running():
            n_best = searcher.finish(stream.search)
        vocabulary = searcher.vocabulary
        (places,) = align_best(self._backend, encoded, vocabulary, n_best)
        tokenizer = tokenizer_of(self._bundle, vocabulary)
        placed = place_words(tokenizer, n_best[0][0].tokens, places, stream.options.measure)
        placed = placed.without_loops() if stream.options.drop_loops else placed
        waveform = np.concatenate(stream.samples)[:num_samples]
        words = placed.timed(waveform, self._bundle.frontend.sample_rate, self._bundle.frame_seconds)
        return Decoded(n_best[0], placed, words)


def can_stream(bundle: SpeechModel) -> bool:
    """Whether front-end, encoder and what runs them take audio bit by bit."""
    backend = bundle.backend
    return bundle.frontend.streams and isinstance(backend, StreamingBackend) and backend.streams


def tokenizer_of(bundle: SpeechModel, vocabulary: Vocabulary) -> Tokenizer:
    """The tokenizer whose pieces are those of a search's vocabulary."""
    return next((one for one in bundle.tokenizers.values() if one.vocabulary == vocabulary), bundle.tokenizer)


def _by_searcher(due: Sequence[tuple[DecodedStream, bool]]) -> list[list[tuple[DecodedStream, bool]]]:
    groups: dict[int, list[tuple[DecodedStream, bool]]] = {}
    for stream, last in due:
        groups.setdefault(id(stream.options.searcher), []).append((stream, last))
    return list(groups.values())


def _joined(states: Sequence[Any]) -> Any:
    """One state of several streams; nothing is copied for one."""
    return states[0] if len(states) == 1 else states[0].join(states)
