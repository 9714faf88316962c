"""Streams of the engine for coroutines that read from a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

import numpy as np

from asr.bundle.streaming import can_stream
from asr.errors import AudioError
from asr.serve.errors import invalid, too_large
from asr.serve.latencies import Latencies
from asr.serve.state import ServerState
from asr.serve.transcribing import fit_options
from asr.serve.waiting import Waiter
from asr.transcribe.engine import Stream
from asr.transcribe.events import Done, Event, Failed
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.requests import RequestOptions
from asr.transcribe.streaming.engine import LiveStream
from asr.transcribe.streaming.settings import Turns

WAIT_FOR_ROOM = 0.05  # seconds between two looks whether a stream has room


class Live:
    """One stream. Leaving its block cancels what is not done."""

    def __init__(self, state: ServerState, stream: LiveStream | Stream, sample_rate: int) -> None:
        self._state = state
        self._stream = stream
        self._waiter = Waiter(stream)
        self._rate = sample_rate
        self._max = state.config.max_stream_seconds
        self.is_cut = False  # the server ends, and takes no more samples
        self._latencies = Latencies(state.metrics)
        self.seconds = 0.0  # of audio that came

    async def push(self, samples: np.ndarray) -> None:
        """Add samples (N,), waiting for room; ApiError for what is no sound, and 413 for too much of it."""
        self.seconds += len(samples) / self._rate
        self._latencies.arrived(self.seconds)
        if self.seconds > self._max:
            raise too_large(f"a stream may be {self._max:g} s long; open another one", None, "audio_too_long")
        while not self._stream.has_room:
            await asyncio.sleep(WAIT_FOR_ROOM)
        if len(samples) and not self.is_cut:
            try:
                self._stream.push(samples)
            except AudioError as error:
                raise invalid(str(error), code="invalid_audio") from error

    def finish(self) -> None:
        """No more samples will come."""
        self._stream.finish()

    def cut(self) -> None:
        """End with what was said so far, whatever comes."""
        self.is_cut = True
        self._stream.finish()

    async def events_while(self, pushing: asyncio.Future[Any]) -> AsyncIterator[Event]:
        """The events as they come, up to Done; raises what the stream or the task that pushes failed with."""
        pushing.add_done_callback(lambda _: self._waiter.wake())
        while True:
            for event in self._events_now():
                yield event
                if isinstance(event, Done):
                    return
            if pushing.done() and not pushing.cancelled() and (error := pushing.exception()) is not None:
                raise error
            await self._waiter.changed()

    async def events(self) -> AsyncIterator[Event]:
        """The events as they come, up to Done; raises what the stream failed with."""
        while True:
            for event in self._events_now():
                yield event
                if isinstance(event, Done):
                    return
            await self._waiter.changed()

    def _events_now(self) -> Iterator[Event]:
        for event in self._stream.events_now():
            if isinstance(event, Failed):
                raise event.error
            self._latencies.told(event)
            yield event

    async def __aenter__(self) -> Self:
        self._state.endings.add(self.cut)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._state.endings.discard(self.cut)
        self._stream.close()


async def open_live(
    state: ServerState,
    recognizer: Recognizer,
    sample_rate: int,
    options: RequestOptions,
    turns: Turns | None = None,
) -> Live:
    """Open a stream with the server's settings; ApiError 400 for options that the model cannot follow."""

    def open_stream() -> LiveStream:
        fitting, _ = fit_options(recognizer, options)
        return recognizer.open_stream(sample_rate, fitting, state.streaming, turns)

    return Live(state, await asyncio.to_thread(open_stream), sample_rate)


async def open_recording(state: ServerState, recognizer: Recognizer, sample_rate: int, options: RequestOptions) -> Live:
    """The same for speech of which only the final text counts: a model that takes whole utterances looks once."""

    def open_stream() -> LiveStream | Stream:
        fitting, _ = fit_options(recognizer, options)
        if can_stream(recognizer.bundle):
            return recognizer.open_stream(sample_rate, fitting, state.streaming)
        return recognizer.engine.open(fitting, sample_rate=sample_rate)

    return Live(state, await asyncio.to_thread(open_stream), sample_rate)
