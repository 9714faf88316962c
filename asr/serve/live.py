"""Streams of the engine for coroutines that read from a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

import numpy as np

from asr.errors import AudioError
from asr.serve.errors import invalid, too_large
from asr.serve.state import ServerState
from asr.serve.transcribing import fit_options
from asr.serve.waiting import Waiter
from asr.transcribe.events import Done, Event, Failed
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.requests import RequestOptions
from asr.transcribe.streaming.engine import LiveStream

WAIT_FOR_ROOM = 0.05  # seconds between two looks whether a stream has room


class Live:
    """One stream. Leaving its block cancels what is not done."""

    def __init__(self, stream: LiveStream, sample_rate: int, max_seconds: float) -> None:
        self._stream = stream
        self._waiter = Waiter(stream)
        self._rate = sample_rate
        self._max = max_seconds
        self.seconds = 0.0  # of audio that came

    async def push(self, samples: np.ndarray) -> None:
        """Add samples (N,), waiting for room; ApiError for what is no sound, and 413 for too much of it."""
        self.seconds += len(samples) / self._rate
        if self.seconds > self._max:
            raise too_large(f"a stream may be {self._max:g} s long; open another one", None, "audio_too_long")
        while not self._stream.has_room:
            await asyncio.sleep(WAIT_FOR_ROOM)
        if len(samples):
            try:
                self._stream.push(samples)
            except AudioError as error:
                raise invalid(str(error), code="invalid_audio") from error

    def finish(self) -> None:
        """No more samples will come."""
        self._stream.finish()

    async def events_while(self, pushing: asyncio.Future[Any]) -> AsyncIterator[Event]:
        """The events as they come, up to Done; raises what the stream or the task that pushes failed with."""
        pushing.add_done_callback(lambda _: self._waiter.wake())
        while True:
            for event in self._stream.events_now():
                if isinstance(event, Failed):
                    raise event.error
                yield event
                if isinstance(event, Done):
                    return
            if pushing.done() and not pushing.cancelled() and (error := pushing.exception()) is not None:
                raise error
            await self._waiter.changed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._stream.close()


async def open_live(state: ServerState, recognizer: Recognizer, sample_rate: int, options: RequestOptions) -> Live:
    """Open a stream with the server's settings; ApiError 400 for options that the model cannot follow."""

    def open_stream() -> LiveStream:
        fitting, _ = fit_options(recognizer, options)
        return recognizer.open_stream(sample_rate, fitting, state.streaming)

    return Live(await asyncio.to_thread(open_stream), sample_rate, state.config.max_stream_seconds)
