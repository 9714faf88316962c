"""One model that many callers share.

A call to `submit` or `open` makes a request and returns at once. A reader thread decodes recordings block by block and
cuts them into spans of speech; a model thread recognises spans of all requests, in batches that a `Scheduler` chooses;
results become events of their requests, in order, to iterate over from a `Handle`. The threads share one lock, and
hold it only to pass things on. What a caller does not take stops its own request and nobody else's, what fails ends
only the request that it belongs to, and no model runs in the thread of a caller.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from asr.errors import AudioError
from asr.transcribe.events import Done, Event, Failed
from asr.transcribe.recognized import Recognized
from asr.transcribe.recordings import ArrayRecording, Audio, BytesRecording, FileRecording, LiveRecording, Recording
from asr.transcribe.requests import Request, RequestOptions, SpanTask
from asr.transcribe.scheduler import Scheduler
from asr.transcribe.segmentation import Segmenter, Span
from asr.transcribe.streaming.engine import LiveEngine, LiveStream
from asr.types import Transcript

MAX_PUSHED_SECONDS = 30.0  # of a stream that may wait for the reader

RecognizeBatch = Callable[[Sequence[Span], Sequence[RequestOptions]], list[Recognized]]
"""What spans say, each by the options of its request."""

DEFAULT_OPTIONS = RequestOptions()


class Handle:
    """A request that was submitted. Letting go of it cancels the request."""

    def __init__(self, engine: Engine, core: _Core, request: Request) -> None:
        self._engine = engine  # which ends when nobody has it any more
        self._core = core
        self._request = request
        weakref.finalize(self, setattr, request, "is_abandoned", True).atexit = False

    def __iter__(self) -> Iterator[Event]:
        """The events, each waited for; the last one is Done or Failed. Each is given once."""
        while (event := self._core.take_event(self._request)) is not None:
            yield event

    def result(self) -> Transcript:
        """Wait for the whole transcript; raises what the request failed with. Takes all events."""
        for event in self:
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Done):
                return event.transcript
        raise RuntimeError("the events of this request have been taken already")

    def events_now(self) -> Iterator[Event]:
        """The events that have come so far, without waiting."""
        while (event := self._core.take_event(self._request, wait=False)) is not None:
            yield event

    def on_change(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever there may be an event: by threads of the engine, so it must not wait."""
        self._core.listen(self._request, call)

    def cancel(self) -> None:
        """Stop working on it; its last event is then Failed with `concurrent.futures.CancelledError`."""
        self._core.cancel(self._request)

    def close(self) -> None:
        """Cancel it unless it is done."""
        self.cancel()


class Stream(Handle):
    """A request whose audio arrives bit by bit."""

    def __init__(self, engine: Engine, core: _Core, request: Request, recording: LiveRecording) -> None:
        super().__init__(engine, core, request)
        self._recording = recording

    def push(self, samples: np.ndarray) -> None:
        """Add samples (N,) of floats in [-1, 1]; waits while MAX_PUSHED_SECONDS have not been read yet.

        Raises AudioError for an array that cannot be samples, and after `finish`.
        """
        self._core.wait_for_room(self._request, self._recording)
        self._recording.push(samples)

    @property
    def has_room(self) -> bool:
        """Whether `push` would not wait."""
        return self._core.has_room(self._request, self._recording)

    def finish(self) -> None:
        """No more samples will come; the rest of the events will."""
        self._recording.finish()


class Engine:
    """Transcribes recordings and streams of many callers with one model.

    Spans are recognised by `recognize`, in batches whose longest span times size is at most `max_batch_seconds`, and
    that hold no more than `max_batch_spans`: in the
    engine's own thread or, with an `executor` for up to `max_in_flight` batches at once, elsewhere. `check` is called
    with the options of every new request and raises ConfigError where they cannot be followed. Where it says True, the
    language is to be found on the first speech, and the rest of the recording waits until it is. `live` takes streams.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        recognize: RecognizeBatch,
        *,
        max_batch_seconds: float = 60.0,
        max_batch_spans: int | None = None,
        executor: Executor | None = None,
        max_in_flight: int = 1,
        check: Callable[[RequestOptions], bool] = lambda _: False,
        live: LiveEngine | None = None,
    ) -> None:
        self._live = live
        scheduler = Scheduler(max_batch_seconds, max_in_flight, max_batch_spans)
        self._core = _Core(segmenter, recognize, scheduler, executor, max_in_flight)
        self._check = check
        self._finalizer = weakref.finalize(self, self._core.close)  # at the exit of the interpreter, too

    def submit(
        self,
        recording: Recording | Audio,
        options: RequestOptions = DEFAULT_OPTIONS,
        *,
        sample_rate: int = 16000,
    ) -> Handle:
        """Begin to transcribe a file, its contents as bytes, or a waveform (num_samples,) at `sample_rate` in Hz.

        Returns at once; whatever is wrong with a file is an event. Raises AudioError for an array that is no waveform,
        and what `check` raises.
        """
        finds_language = self._check(options)
        return Handle(self, self._core, self._core.add(as_recording(recording, sample_rate), options, finds_language))

    def open(self, options: RequestOptions = DEFAULT_OPTIONS, *, sample_rate: int = 16000) -> Stream | LiveStream:
        """Begin to transcribe a waveform that will be pushed, at `sample_rate` in Hz; by `live` if there is one."""
        if self._live is not None:
            return self._live.open(options, sample_rate=sample_rate)
        finds_language = self._check(options)
        recording = LiveRecording(sample_rate, self._core.wake)
        return Stream(self, self._core, self._core.add(recording, options, finds_language), recording)

    @property
    def num_batches(self) -> int:
        """How many batches have been recognised."""
        return self._core.num_batches

    def on_batch(self, call: Callable[[int], None]) -> None:
        """Have `call` called with the number of spans of each batch that begins; it must return at once."""
        self._core.on_batch = call

    def close(self) -> None:
        """Fail all requests that are not done, and end the threads once the running batch is."""
        self._finalizer()
        if self._live is not None:
            self._live.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def as_recording(source: Any, sample_rate: int) -> Recording:
    """What can be read block by block; AudioError for what is no recording."""
    if isinstance(source, str | Path):
        path = Path(source)
        return FileRecording(path, Path(path.name))
    if isinstance(source, bytes | bytearray | memoryview):
        return BytesRecording(bytes(source))
    if isinstance(source, list | tuple) or hasattr(source, "__array__"):
        return ArrayRecording(source, sample_rate)
    if hasattr(source, "read"):
        content = source.read()
        if isinstance(content, bytes):
            return BytesRecording(content)
        raise AudioError("expected a binary file, got one of text; open it with mode 'rb'")
    if not isinstance(source, Recording):
        raise AudioError(f"expected a path, bytes, a binary file or an array of samples, got {type(source).__name__}")
    return source


class _Core:
    """What the threads of an engine hold on to: not the engine itself, which ends them when nobody has it any more."""

    def __init__(
        self,
        segmenter: Segmenter,
        recognize: RecognizeBatch,
        scheduler: Scheduler,
        executor: Executor | None,
        max_in_flight: int,
    ) -> None:
        self.num_batches = 0
        self.on_batch: Callable[[int], None] = lambda _: None
        self._segmenter = segmenter
        self._recognize = recognize
        self._scheduler = scheduler
        self._executor = executor
        self._max_in_flight = max_in_flight
        self._num_in_flight = 0
        self._is_closed = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # there may be something to read or to recognise
        self._threads: list[threading.Thread] = []

    def add(self, recording: Recording, options: RequestOptions, finds_language: bool) -> Request:
        """A new request; RuntimeError once the engine is closed."""
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the engine is closed")
            if not self._threads:
                loops = {"reader": self._read, "model": self._run_batches}
                self._threads = [
                    threading.Thread(target=loop, name=f"asr {name}", daemon=True) for name, loop in loops.items()
                ]
                for thread in self._threads:
                    thread.start()
            request = Request(recording, options, self._segmenter, self._lock, finds_language=finds_language)
            self._scheduler.add(request)
            self._changed.notify_all()
        return request

    def wake(self) -> None:
        """Samples of a stream have come."""
        with self._lock:
            self._changed.notify_all()

    def listen(self, request: Request, call: Callable[[], None]) -> None:
        """See `Handle.on_change`; the first call is at once."""
        with self._lock:
            request.on_event = call
            call()

    def take_event(self, request: Request, *, wait: bool = True) -> Event | None:
        """The next event of a request; None after the last one, or where there is none to be had without waiting."""
        with self._lock:
            was_paused = request.is_paused
            event = request.take_event(wait=wait)
            if was_paused:
                self._changed.notify_all()
            return event

    def has_room(self, request: Request, recording: LiveRecording) -> bool:
        """Whether the reader has caught up with a stream, or is done with it."""
        return recording.waiting_seconds <= MAX_PUSHED_SECONDS or request.is_over

    def wait_for_room(self, request: Request, recording: LiveRecording) -> None:
        """Wait until the reader has caught up with a stream."""
        with self._lock:
            while not self.has_room(request, recording):
                request.changed.wait()

    def cancel(self, request: Request) -> None:
        """Drop a request."""
        with self._lock:
            request.cancel()
            self._tidy(request)

    def close(self) -> None:
        """See `Engine.close`."""
        with self._lock:
            self._is_closed = True
            for request in self._scheduler.all():
                request.fail(RuntimeError("the engine was closed"))
                self._tidy(request)
            self._changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                with suppress(KeyboardInterrupt):  # a second Ctrl-C, while the first one is on its way through here
                    thread.join()

    def _tidy(self, request: Request) -> None:
        """Under the lock: let go of a request that is over."""
        if request.is_over:
            self._scheduler.remove(request)
            if not request.is_reading:
                request.close()
            self._changed.notify_all()

    def _read(self) -> None:
        """The reader thread."""
        while (request := self._next_to_read()) is not None:
            items = request.read_block()
            with self._lock:
                request.is_reading = False
                if not request.is_over:
                    request.add(items)
                request.changed.notify_all()  # a stream has room again
                self._changed.notify_all()
                self._tidy(request)

    def _next_to_read(self) -> Request | None:
        with self._lock:
            while not self._is_closed:
                for request in self._scheduler.abandoned():
                    request.cancel()
                    self._tidy(request)
                if (chosen := self._scheduler.next_to_read()) is not None:
                    chosen.is_reading = True
                    return chosen
                self._changed.wait()
        return None

    def _run_batches(self) -> None:
        """The model thread."""
        while batch := self._next_batch():
            arguments = [task.span for task in batch], [task.options for task in batch]
            if self._executor is None:
                self._finish(batch, _called(self._recognize, *arguments))
                continue
            try:
                future = self._executor.submit(self._recognize, *arguments)
            except Exception as error:  # a pool whose processes were killed
                self._finish(batch, _failed(error))
            else:
                future.add_done_callback(partial(self._finish, batch))

    def _next_batch(self) -> list[SpanTask]:
        with self._lock:
            while not self._is_closed:
                if self._num_in_flight < self._max_in_flight and (batch := self._scheduler.next_batch()):
                    self._num_in_flight += 1
                    self.on_batch(len(batch))
                    self._changed.notify_all()  # the reader has room
                    return batch
                self._changed.wait()
        return []

    def _finish(self, batch: Sequence[SpanTask], future: Future[list[Recognized]]) -> None:
        """Hand out what became of a batch. One that failed is taken apart, until it is clear whose fault it was."""
        requests = {task.request: [other for other in batch if other.request is task.request] for task in batch}
        error = future.exception()
        with self._lock:
            self._num_in_flight -= 1
            self.num_batches += 1
            for request, tasks in requests.items():
                if error is None:
                    request.is_alone = False
                elif len(requests) > 1:
                    request.put_back(tasks)
                elif not request.is_over:
                    request.fail(error if isinstance(error, Exception) else RuntimeError(repr(error)))
                self._scheduler.touch(request)
            if error is None:
                for task, recognized in zip(batch, future.result(), strict=True):
                    task.request.finish_task(task, recognized)
            for request in requests:
                self._tidy(request)
            self._changed.notify_all()


def _called(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """The outcome of a call."""
    future: Future[Any] = Future()
    try:
        future.set_result(function(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future


def _failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
