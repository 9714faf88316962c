"""Whose recording is read next, and which spans share the next batch.

Requests take turns. The one that has waited longest leads the next batch with its first span; spans of like lengths,
its own and those of others, fill it. So whatever else is going on, a request whose speech is ready waits for the batch
that is running and for those of others that were ready before it, never for the rest of a long recording.

Bulk requests are read and led one after the other, when nobody else is ready, and their batches wait for a window of
several batches' worth, in which spans of like lengths are more easily found.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from asr.transcribe.requests import Request, SpanTask

WINDOW_BATCHES = 4  # batches' worth of audio among which spans of like lengths are looked for,
WINDOW_SECONDS = 480.0  # but no more than this or a batch for each lane, since it is held in memory
MIN_SHARE, MAX_SHARE = 0.25, 1.25  # of a batch: of what is left at the end, lanes get at least and at most that
MAX_WAITING_BATCHES = 20  # batches' worth of audio that wait in all; beyond, a request may read only if none of its own


class Scheduler:
    """The requests that are under way. Batches are at most `max_batch_seconds` long, longest span times size.

    They hold at most `max_spans`, if that is given. The last ones are as many as can be recognised at once,
    `num_lanes`.
    """

    def __init__(self, max_batch_seconds: float, num_lanes: int = 1, max_spans: int | None = None) -> None:
        self.max_batch_seconds = max_batch_seconds
        self._max_spans = max_spans
        most = max(WINDOW_SECONDS, num_lanes * max_batch_seconds)
        self._most_window = min(WINDOW_BATCHES * max_batch_seconds, most)
        self._num_lanes = num_lanes
        self._requests: list[Request] = []  # in the order they came
        self._now = 0  # counts what happens
        self._window = max_batch_seconds  # of bulk; the first is of one batch, so that something comes out soon

    def all(self) -> list[Request]:
        """In the order they came."""
        return list(self._requests)

    def add(self, request: Request) -> None:
        """A new request."""
        self._requests.append(request)
        self.touch(request)

    def remove(self, request: Request) -> None:
        """It is over; removing it again does nothing."""
        self._requests = [other for other in self._requests if other is not request]

    def touch(self, request: Request) -> None:
        """It begins to wait for the model."""
        self._now += 1
        request.waiting_since = self._now

    def abandoned(self) -> list[Request]:
        """Requests whose events nobody will take."""
        return [request for request in self._requests if request.is_abandoned]

    def next_to_read(self) -> Request | None:
        """Of the requests that can be read and have room the one that was read longest ago; None without any."""
        if not (readable := self._readable()):
            return None
        request = min(readable, key=lambda request: request.last_read)
        self._now += 1
        request.last_read = self._now
        return request

    def next_batch(self) -> list[SpanTask]:
        """Spans to recognise together, longest first; [] as long as it is better to wait."""
        runnable = [request for request in self._requests if request.candidates and not request.is_paused]
        ready = sum(request.ready_seconds for request in runnable)
        now = [request for request in runnable if not request.options.bulk and self._is_urgent(request, ready)]
        if not now and runnable and (ready >= self._window or not self._is_reading()):
            now = runnable
        if not now:
            return []
        if all(request.options.bulk for request in now):
            self._window = min(2 * self._window, self._most_window)
        lead = min(now, key=lambda request: (request.options.bulk, request.num_running > 0, request.waiting_since))
        others = [] if lead.is_alone else [other for other in runnable if not (other is lead or other.is_alone)]
        return self._take(lead, [lead, *others])

    def _readable(self) -> list[Request]:
        """Requests that can be read and whose next spans may wait for the model: of bulk at most one."""
        waiting = sum(request.ready_seconds for request in self._requests)
        bulk_waiting = sum(request.ready_seconds for request in self._requests if request.options.bulk)
        own_room, room = self._most_window, MAX_WAITING_BATCHES * self.max_batch_seconds
        has_bulk_room = bulk_waiting < self._most_window + 2 * self.max_batch_seconds
        readable = []
        for request in self._requests:
            own = request.ready_seconds
            if request.options.bulk:
                if has_bulk_room and request.can_read:
                    readable.append(request)
                has_bulk_room = has_bulk_room and not (request.can_read or request.is_reading)
            elif request.can_read and (not own or (own < own_room and waiting < room)):
                readable.append(request)
        return readable

    def _is_reading(self) -> bool:
        """Whether more spans may come without anything being recognised."""
        return any(request.is_reading for request in self._requests) or bool(self._readable())

    def _is_urgent(self, request: Request, ready_seconds: float) -> bool:
        """Whether to wait for more would only delay it."""
        is_live = not request.is_read and not request.is_reading and not request.recording.has_block
        return request.is_read or is_live or request.partial is not None or ready_seconds >= self.max_batch_seconds

    def _take(self, lead: Request, requests: Sequence[Request]) -> list[SpanTask]:
        """The batch that holds the first span of `lead` and, of all such, the most audio."""
        tasks = [task for request in requests for task in request.candidates]
        tasks.sort(key=lambda task: -len(task.span.waveform))
        first = lead.candidates[0]
        place = next(place for place, task in enumerate(tasks) if task is first)
        chosen = fullest_batch([task.span.duration for task in tasks], place, self._limit(tasks), self._max_spans)
        batch = tasks[chosen]
        for task in batch:
            task.request.take(task)
        return batch

    def _limit(self, tasks: Sequence[SpanTask]) -> float:
        """Seconds of the next batch at most, of all that wait."""
        if self._num_lanes == 1 or self._is_reading():
            return self.max_batch_seconds
        number = len(tasks) + sum(request.num_running for request in self._requests)
        share = math.ceil(number / self._num_lanes) * tasks[0].span.duration
        return min(MAX_SHARE * self.max_batch_seconds, max(share, MIN_SHARE * self.max_batch_seconds))


def fullest_batch(
    durations: Sequence[float], place: int, max_batch_seconds: float, max_spans: int | None = None
) -> slice:
    """Of descending durations, those around `place` that hold most audio; longest times number is within the limit.

    A single one may be longer. Of equally full batches the one with the longest durations is taken.
    """
    sums = [0.0, *itertools.accumulate(durations)]
    best, most = slice(place, place + 1), 0.0
    for first in range(place + 1):
        size = max(1, int(max_batch_seconds / durations[first] + 1e-9)) if durations[first] > 0 else len(durations)
        size = min(size, max_spans or size)
        stop = min(len(durations), first + size)
        if stop > place and sums[stop] - sums[first] > most + 1e-9:
            best, most = slice(first, stop), sums[stop] - sums[first]
    return best
