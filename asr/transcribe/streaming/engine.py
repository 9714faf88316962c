"""Streams of many callers through one model: a thread of its own moves all of them on together, step by step."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import cached_property

import numpy as np

from asr.audio.vad import VADS, Vad
from asr.errors import ConfigError
from asr.transcribe.events import Done, Event, Failed, Partial
from asr.transcribe.recordings import LiveRecording
from asr.transcribe.requests import RequestOptions
from asr.transcribe.segmentation import SegmentationConfig
from asr.transcribe.streaming.decoder import LiveDecoder
from asr.transcribe.streaming.hearing import Hearing
from asr.transcribe.streaming.session import STEP_SECONDS, Session, advance_sessions
from asr.transcribe.streaming.settings import StreamingConfig, Turns
from asr.types import Transcript

MAX_PUSHED_SECONDS = 30.0  # of a stream that may wait for the model


class _Caller:
    """One stream between its caller and the thread. All under the lock, but for the session and `steps`."""

    def __init__(self, session: Session, recording: LiveRecording, rate: int, lock: threading.Lock) -> None:
        self.session = session
        self.recording = recording
        self.blocks = recording.blocks(rate, STEP_SECONDS)
        self.changed = threading.Condition(lock)
        self.on_change: Callable[[], None] = lambda: None  # is called then, too
        self.events: deque[Event] = deque()
        self.is_over = False
        self.is_abandoned = False
        self.rest = np.zeros(0, dtype=np.float32)  # samples at the model's rate that make no step yet
        self.is_read = False  # no more samples will come

    def deliver(self, events: Sequence[Event]) -> None:
        """A Partial that nobody has taken yet is replaced by what comes after it."""
        for event in events:
            if self.events and isinstance(self.events[-1], Partial) and isinstance(event, Partial):
                self.events.pop()
            self.events.append(event)
        if events:
            self.notify()

    def notify(self) -> None:
        """There are events, or room for samples."""
        self.changed.notify_all()
        self.on_change()

    def end(self, event: Done | Failed) -> None:
        """The last event."""
        if not self.is_over:
            self.is_over = True
            self.deliver([event])


class LiveStream:
    """A stream that was opened: push samples, take events. Letting go of it ends it."""

    def __init__(self, engine: LiveEngine, core: _Core, caller: _Caller) -> None:
        self._engine = engine  # which ends when nobody has it any more
        self._core = core
        self._caller = caller
        weakref.finalize(self, setattr, caller, "is_abandoned", True).atexit = False

    def push(self, samples: np.ndarray) -> None:
        """Add samples (N,) of floats in [-1, 1]; waits while MAX_PUSHED_SECONDS have not been looked at yet.

        Raises AudioError for an array that cannot be samples, and after `finish`.
        """
        self._core.wait_for_room(self._caller)
        self._caller.recording.push(samples)

    @property
    def has_room(self) -> bool:
        """Whether `push` would not wait."""
        return self._core.has_room(self._caller)

    def on_change(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever there may be an event, or room: by the engine's thread, so it must not wait."""
        self._core.listen(self._caller, call)

    def finish(self) -> None:
        """No more samples will come; the rest of the events will."""
        self._caller.recording.finish()

    def __iter__(self) -> Iterator[Event]:
        """The events, each waited for and given once; the last one is Done or Failed."""
        while (event := self._core.take_event(self._caller, wait=True)) is not None:
            yield event

    def events_now(self) -> Iterator[Event]:
        """The events that have come so far, without waiting."""
        while (event := self._core.take_event(self._caller, wait=False)) is not None:
            yield event

    def result(self) -> Transcript:
        """Wait for the whole transcript, after `finish`; raises what the stream failed with. Takes all events."""
        for event in self:
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Done):
                return event.transcript
        raise RuntimeError("the events of this stream have been taken already")

    def cancel(self) -> None:
        """Stop working on it; its last event is then Failed with `concurrent.futures.CancelledError`."""
        self._core.cancel(self._caller)

    def close(self) -> None:
        """Cancel it unless it is done."""
        self.cancel()


class LiveEngine:
    """Recognises streams as `config` says. `check` raises ConfigError for options that cannot be followed."""

    def __init__(
        self,
        decoder: LiveDecoder,
        config: StreamingConfig,
        segmentation: SegmentationConfig,
        sample_rate: int,
        check: Callable[[RequestOptions], object] = lambda _: None,
    ) -> None:
        self.decoder = decoder
        self.sample_rate = sample_rate  # Hz, of the model
        self.min_recording = segmentation.min_recording
        self._core = _Core(decoder, config, segmentation, sample_rate)
        self._check = check
        self._finalizer = weakref.finalize(self, self._core.close)  # at the exit of the interpreter, too

    def open(self, options: RequestOptions, *, sample_rate: int = 16000, turns: Turns | None = None) -> LiveStream:
        """Begin to recognise a waveform that will be pushed, at `sample_rate` in Hz.

        `turns` may have its utterances end otherwise than those of other streams.
        """
        if options.channel not in (None, 0):
            raise ConfigError(f"a stream has one channel, there is no channel {options.channel}")
        self._check(options)
        return LiveStream(self, self._core, self._core.add(options, sample_rate, turns))

    def new_session(self, options: RequestOptions) -> Session:
        """A stream to be moved on by hand (`advance_sessions`), without a thread."""
        return self._core.new_session(options)

    def close(self) -> None:
        """Fail all streams that are not done, and end the thread."""
        self._finalizer()


class _Core:
    """What the thread holds on to: not the engine itself, which ends it when nobody has it any more."""

    def __init__(
        self,
        decoder: LiveDecoder,
        config: StreamingConfig,
        segmentation: SegmentationConfig,
        sample_rate: int,
    ) -> None:
        self._decoder = decoder
        self._config = config
        self._segmentation = segmentation
        self._rate = sample_rate
        self._step = round(STEP_SECONDS * sample_rate)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._callers: list[_Caller] = []
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def new_session(self, options: RequestOptions, turns: Turns | None = None) -> Session:
        """See `LiveEngine.new_session`."""
        segmentation = self._segmentation if turns is None else turns.segmentation(self._segmentation)
        config = self._config if turns is None else turns.streaming(self._config)
        hearing = Hearing(segmentation, self._vad, self._rate)
        return Session(self._decoder, hearing, config, options, tells_turns=turns is not None)

    @cached_property
    def _vad(self) -> Vad | None:
        """The detector, once it is needed."""
        config = self._segmentation.vad
        return None if config is None else VADS.part(config.name)(config, self._rate)

    def add(self, options: RequestOptions, sample_rate: int, turns: Turns | None = None) -> _Caller:
        """A new stream; RuntimeError once the engine is closed."""
        session = self.new_session(options, turns)
        caller = _Caller(session, LiveRecording(sample_rate, self._wake), self._rate, self._lock)
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the engine is closed")
            self._callers.append(caller)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="asr live", daemon=True)
                self._thread.start()
        return caller

    def take_event(self, caller: _Caller, *, wait: bool) -> Event | None:
        """The next event; None after the last one, or where there is none to be had without waiting."""
        with self._lock:
            while not caller.events:
                if caller.is_over or not wait:
                    return None
                caller.changed.wait()
            return caller.events.popleft()

    def listen(self, caller: _Caller, call: Callable[[], None]) -> None:
        """See `LiveStream.on_change`; the first call is at once."""
        with self._lock:
            caller.on_change = call
            call()

    def has_room(self, caller: _Caller) -> bool:
        """Whether the model has caught up with a stream, or is done with it."""
        return caller.recording.waiting_seconds <= MAX_PUSHED_SECONDS or caller.is_over

    def wait_for_room(self, caller: _Caller) -> None:
        """Wait until the model has caught up with a stream."""
        with self._lock:
            while not self.has_room(caller):
                caller.changed.wait()

    def cancel(self, caller: _Caller) -> None:
        """Drop a stream."""
        with self._lock:
            if not caller.is_over:
                caller.events.clear()
            caller.end(Failed(CancelledError()))
            self._changed.notify_all()

    def close(self) -> None:
        """See `LiveEngine.close`."""
        with self._lock:
            self._is_closed = True
            for caller in self._callers:
                caller.end(Failed(RuntimeError("the engine was closed")))
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            with suppress(KeyboardInterrupt):
                self._thread.join()

    def _wake(self) -> None:
        with self._lock:
            self._changed.notify_all()

    def _run(self) -> None:
        while waiting := self._next():
            found = [(caller, self._block(caller)) for caller in waiting]
            due = [caller for caller, block in found if block is not None]
            blocks = [block for _, block in found if block is not None]
            error: Exception | None = None
            try:
                sessions, last = [caller.session for caller in due], [is_last for _, is_last in blocks]
                samples = [block for block, _ in blocks]
                behind = [self._has_step(caller) for caller in due]
                advance_sessions(self._decoder, sessions, samples, last, self._segmentation.min_recording, behind)
            except Exception as caught:
                error = caught
            with self._lock:
                for caller, (_, is_last) in zip(due, blocks, strict=True):
                    self._settle(caller, is_last=is_last, error=error)

    def _settle(self, caller: _Caller, *, is_last: bool, error: Exception | None) -> None:
        """Hand out what has happened in a stream."""
        if caller.is_over:
            return
        if error is not None:
            caller.end(Failed(error))
            return
        caller.deliver(caller.session.take_events())
        if is_last:
            session = caller.session
            transcript = Transcript(tuple(session.segments))
            caller.end(Done(transcript, session.num_samples / self._rate, has_speech=session.has_speech))
        caller.notify()  # there may be room again

    def _next(self) -> list[_Caller]:
        """The streams that have a step or their end to look at; waited for. [] once the engine is closed."""
        with self._lock:
            while not self._is_closed:
                self._callers = [one for one in self._callers if not (one.is_over or one.is_abandoned)]
                due = [one for one in self._callers if self._has_step(one)]
                if due:
                    return due
                self._changed.wait(timeout=1.0)  # abandoned streams make no sound
        return []

    def _has_step(self, caller: _Caller) -> bool:
        waiting = len(caller.rest) + caller.recording.waiting_seconds * self._rate
        return waiting >= self._step or caller.recording.is_finished

    def _block(self, caller: _Caller) -> tuple[np.ndarray, bool] | None:
        """The next step of a stream at the model's rate, and whether it is the last one; None without a whole step."""
        while len(caller.rest) < self._step and not caller.is_read and caller.recording.has_block:
            new = next(caller.blocks, None)
            if new is None:
                caller.is_read = True
            else:
                caller.rest = np.concatenate([caller.rest, new])
        if len(caller.rest) < self._step and not caller.is_read:
            return None  # a resampler holds some back
        block, caller.rest = caller.rest[: self._step], caller.rest[self._step :]
        return block, caller.is_read and not len(caller.rest)
