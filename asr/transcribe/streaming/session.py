"""Streams of speech, step by step: where utterances begin and end, and what becomes known of them.

samples -> hearing -> utterances -> decoder -> Partial, SegmentReady
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from asr.transcribe.events import Event, Partial, SegmentReady, SpeechStarted, SpeechStopped
from asr.transcribe.requests import RequestOptions
from asr.transcribe.streaming.decoder import LiveDecoder, Update
from asr.transcribe.streaming.hearing import Hearing
from asr.transcribe.streaming.settings import StreamingConfig
from asr.types import Segment

STEP_SECONDS = 0.08  # between two looks for the end of an utterance
PAUSE_SECONDS = 0.1  # enough to end an utterance that is too long


class Session:
    """One stream. `advance_sessions` moves several of them on together; one thread at a time."""

    def __init__(
        self,
        decoder: LiveDecoder,
        hearing: Hearing,
        config: StreamingConfig,
        options: RequestOptions,
        *,
        tells_turns: bool = False,
    ) -> None:
        self.segments: list[Segment] = []
        self.has_speech = False  # whether any utterance was begun
        self._decoder = decoder
        self._hearing = hearing
        self._config = config
        self._options = options
        self._tells_turns = tells_turns
        self._rate = hearing.sample_rate
        self._now = 0  # samples heard
        self._utterance: Any = None
        self._first = 0  # sample where it begins
        self._kept = np.zeros(0, dtype=np.float32)  # the last samples before it begins
        self._reserved = 0  # samples before belong to an earlier utterance
        self._is_forced = False  # the last utterance was cut in its speech, and this one goes on with it
        self._held = np.zeros(0, dtype=np.float32)  # silence that the utterance may end in, or go on after
        self._shown: tuple[str, ...] = ()
        self._events: list[Event] = []
        self._by_decoder = config.endpoint.by == "decoder" or not hearing.has_detector

    @property
    def num_samples(self) -> int:
        """How much has been heard."""
        return self._now

    def take_events(self) -> list[Event]:
        """What has happened since the last call."""
        events, self._events = self._events, []
        return events

    def hear(self, samples: np.ndarray) -> np.ndarray | None:
        """Take the next samples (N,), N at most a step; returns those for the utterance, None outside of any."""
        self._hearing.push(samples)
        self._now += len(samples)
        if self._utterance is not None:
            return self._without_silence(samples)
        self._kept = np.concatenate([self._kept, samples])
        start = self._start()
        if start is None:
            self._forget()
            return None
        return self._begin(start)

    def begin_short(self, least: float) -> np.ndarray | None:
        """At the end of a stream below `least` seconds, in which a detector had no time to judge: all of it."""
        if self._utterance is None and not self.has_speech and self._now < least * self._rate and len(self._kept):
            return self._begin(0)
        return None

    @property
    def utterance(self) -> Any:
        """What the decoder knows it by; None outside speech."""
        return self._utterance

    def take(self, update: Update) -> None:
        """The utterance went on."""
        self._deliver(update)

    def is_over(self) -> bool:
        """Whether the utterance ends here, by one of the rules of `EndpointConfig`."""
        rules, silence = self._config.endpoint, self._silence()
        has_text = self._utterance.has_text or not self._by_decoder
        length = (self._now - self._first) / self._rate
        if silence >= (rules.silence_after_text if has_text else rules.silence_before_text):
            return True
        if length < rules.max_utterance:
            return False
        self._is_forced = silence < PAUSE_SECONDS and length >= 1.25 * rules.max_utterance
        return self._is_forced or silence >= PAUSE_SECONDS

    def end(self, update: Update) -> None:
        """The utterance has ended."""
        if self._tells_turns:
            self._events.append(SpeechStopped(self._now / self._rate - self._silence(), len(update.segments)))
        self._deliver(update)
        self._utterance = None
        self._shown = ()
        self._reserved = self._now - len(self._held)
        self._kept, self._held = self._held, np.zeros(0, dtype=np.float32)
        self._hearing.forget()

    def silence_at_end(self) -> float:
        """Seconds of silence that the utterance has at its end."""
        return max(0.0, self._silence() - len(self._held) / self._rate)

    def _without_silence(self, samples: np.ndarray) -> np.ndarray:
        """What goes to the decoder now: of silence `tail` seconds, and the rest when speech goes on after all.

        Few models learnt from long silence, and they may write something to it.
        """
        if self._by_decoder:
            return samples
        held = np.concatenate([self._held, samples])
        limit = self._hearing.last_speech + round(self._config.tail * self._rate)
        given = min(max(0, limit - (self._now - len(held))), len(held))
        self._held = held[given:]
        return held[:given]

    def _silence(self) -> float:
        return float(self._utterance.quiet) if self._by_decoder else self._hearing.silence

    def _start(self) -> int | None:
        """Where the utterance begins that can be heard by now."""
        if self._by_decoder or self._is_forced:
            return self._reserved
        if self._hearing.onset is None:
            return None
        return max(self._reserved, self._hearing.onset - round(self._config.pre_roll * self._rate))

    def _begin(self, start: int) -> np.ndarray:
        first = max(start, self._now - len(self._kept))
        samples = self._kept[len(self._kept) - (self._now - first) :]
        self._utterance = self._decoder.open(first, self._options)
        self._first, self._kept = first, np.zeros(0, dtype=np.float32)
        self.has_speech, self._is_forced = True, False
        if self._tells_turns:
            self._events.append(SpeechStarted(first / self._rate))
        return samples

    def _forget(self) -> None:
        """Keep what an utterance may begin with: the pre-roll and a sound that may become speech."""
        needed = self._hearing.undecided - round(self._config.pre_roll * self._rate)
        surplus = min(len(self._kept), max(needed, self._reserved) - (self._now - len(self._kept)))
        if surplus > self._rate:
            self._kept = self._kept[surplus:].copy()

    def _deliver(self, update: Update) -> None:
        for segment in update.segments:
            self.segments.append(segment)
            self._events.append(SegmentReady(segment))
        if update.shown is not None and (update.shown != self._shown or update.segments):
            self._shown = update.shown
            if update.shown and self._options.partials:
                after = update.segments[-1].end if update.segments else self._first / self._rate
                now = self._now / self._rate
                self._events.append(Partial(Segment(min(after, now), now, " ".join(update.shown))))


def advance_sessions(
    decoder: LiveDecoder,
    sessions: Sequence[Session],
    samples: Sequence[np.ndarray],
    is_last: Sequence[bool],
    min_recording: float = 0.0,
    behind: Sequence[bool] | None = None,
) -> None:
    """Give each session its next samples (N,), at most a step each; those whose last they are end their utterance.

    Of sessions that are `behind` the next step waits already; see `LiveDecoder.advance`.
    """
    feeds = []
    late = [False] * len(sessions) if behind is None else behind
    for session, new, last, is_behind in zip(sessions, samples, is_last, late, strict=True):
        feed = session.hear(new)
        if feed is None and last:
            feed = session.begin_short(min_recording)
        if feed is not None:
            feeds.append((session, feed, last, is_behind))
    if not feeds:
        return
    advancing, fed, _, waiting = zip(*feeds, strict=True)
    updates = decoder.advance([session.utterance for session in advancing], fed, [None] * len(feeds), waiting)
    for session, update in zip(advancing, updates, strict=True):
        session.take(update)
    over = [session for session, _, last, _ in feeds if last or session.is_over()]
    if over:
        nothing = np.zeros(0, dtype=np.float32)
        silences = [session.silence_at_end() for session in over]
        ends = decoder.advance([session.utterance for session in over], [nothing] * len(over), silences)
        for session, update in zip(over, ends, strict=True):
            session.end(update)
