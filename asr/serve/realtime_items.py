"""Items of /v1/realtime: one for each utterance, or for all that was sent until the client committed it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from asr.serve.errors import ApiError
from asr.serve.formats import logprobs
from asr.serve.realtime_session import new_id
from asr.transcribe.events import Done, Event, Partial, SegmentReady, SpeechStarted, SpeechStopped
from asr.types import Segment

Send = Callable[[dict[str, Any]], Awaitable[None]]
TRANSCRIPTION = "conversation.item.input_audio_transcription"


@dataclass
class Order:
    """Which item comes after which, over all streams of a connection."""

    last: str | None = None


@dataclass
class Item:
    """What is being said."""

    start: float  # seconds of the connection
    id: str = field(default_factory=lambda: new_id("item"))
    segments: list[Segment] = field(default_factory=list)
    sent: str = ""  # all deltas
    end: float | None = None  # once its speech ended
    num_missing: int | None = None  # segments that follow after that

    @property
    def text(self) -> str:
        """Of its segments."""
        return " ".join(segment.text for segment in self.segments if segment.text)


class Items:
    """Turns the events of one stream into those of a client. `base` is where the stream begins, in seconds.

    With `by_turns` each utterance is an item; else everything is one, which `commit` ends.
    """

    def __init__(self, send: Send, order: Order, base: float, *, by_turns: bool, with_logprobs: bool) -> None:
        self._send = send
        self._order = order
        self._base = base
        self._by_turns = by_turns
        self._with_logprobs = with_logprobs
        self._item: Item | None = None if by_turns else Item(base)
        self._is_committed = False

    async def take(self, event: Event) -> None:
        """Tell the client what happened."""
        match event:
            case SpeechStarted(seconds):
                self._item = Item(self._base + seconds)
                self._is_committed = False
                await self._tell("input_audio_buffer.speech_started", audio_start_ms=_ms(self._item.start))
            case SpeechStopped(seconds, num_segments) if self._item is not None:
                self._item.end, self._item.num_missing = self._base + seconds, num_segments
                await self._tell("input_audio_buffer.speech_stopped", audio_end_ms=_ms(self._item.end))
                await self.commit()
                await self._complete_if_whole()
            case Partial(segment) if self._item is not None:
                await self._delta(f"{self._item.text} {segment.text}".strip())
            case SegmentReady(segment) if self._item is not None:
                self._item.segments.append(segment)
                await self._delta(self._item.text)
                if self._item.num_missing is not None:
                    self._item.num_missing -= 1
                await self._complete_if_whole()
            case Done(_, seconds):
                if self._item is not None and self._item.end is None:
                    self._item.end = self._base + seconds
                await self._complete()

    async def commit(self) -> None:
        """No more audio belongs to the item."""
        if self._item is not None and not self._is_committed:
            self._is_committed = True
            await self._tell("input_audio_buffer.committed", previous_item_id=self._order.last)
            self._order.last = self._item.id

    async def fail(self, error: ApiError) -> None:
        """The item cannot be transcribed."""
        if self._item is not None:
            await self._tell(f"{TRANSCRIPTION}.failed", content_index=0, **error.to_json())
            self._item = None

    async def _delta(self, text: str) -> None:
        """What is new in the text so far; nothing where it is another one than was sent."""
        item = self._item
        assert item is not None
        if text.startswith(item.sent) and text != item.sent:
            delta, item.sent = text[len(item.sent) :], text
            await self._tell(f"{TRANSCRIPTION}.delta", content_index=0, delta=delta)

    async def _complete_if_whole(self) -> None:
        if self._item is not None and self._item.num_missing == 0:
            await self._complete()

    async def _complete(self) -> None:
        item = self._item
        if item is None:
            return
        await self.commit()
        seconds = max(0.0, (item.end or item.start) - item.start)
        details: dict[str, Any] = {"usage": {"type": "duration", "seconds": math.ceil(seconds)}}
        if self._with_logprobs:
            details["logprobs"] = _logprobs(item.segments)
        await self._tell(f"{TRANSCRIPTION}.completed", content_index=0, transcript=item.text, **details)
        self._item = None

    async def _tell(self, kind: str, **details: Any) -> None:
        assert self._item is not None
        await self._send({"type": kind, "event_id": new_id("event"), "item_id": self._item.id, **details})


def _logprobs(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    return [one for segment in segments for one in logprobs(segment)]


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
