"""/v1/realtime in the shapes of OpenAI's realtime transcription API: base64 audio in, items and deltas out."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

from fastapi import APIRouter, WebSocket

from asr.serve.errors import ApiError, as_api_error, invalid, stopping, too_large
from asr.serve.live import Live, open_live
from asr.serve.messages import parse_message
from asr.serve.realtime_items import Items, Order
from asr.serve.realtime_session import Session, new_id
from asr.serve.samples import Samples
from asr.serve.sockets import Socket
from asr.serve.state import ServerState
from asr.serve.uploads import Gone

router = APIRouter()
PROTOCOL = "realtime"
MAX_ERRORS = 100  # of a client, after which it is left alone
MAX_ENDING = 4  # streams of a connection whose last words may still be looked for


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket) -> None:
    """See the module."""
    state: ServerState = websocket.app.state.server
    async with Socket(websocket, state, PROTOCOL) as socket, state.streams.enter(), Conversation(socket, state) as talk:
        await talk.go_on()


class Conversation:
    """One connection: the session's settings, the stream that is open, and those that are ending."""

    def __init__(self, socket: Socket, state: ServerState) -> None:
        self._socket = socket
        self._state = state
        self._name = new_id("sess")
        self._session = Session()
        self._order = Order()
        self._turn: _Turn | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._seconds = 0.0  # of audio that came
        self._is_stopping = asyncio.Event()

    async def __aenter__(self) -> Conversation:
        self._state.endings.add(self._is_stopping.set)
        await self._tell_session("session.created")
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._state.endings.discard(self._is_stopping.set)
        self._socket.record.audio_seconds = self._seconds
        if self._turn is not None:
            self._turn.task.cancel()
            self._ending.add(self._turn.task)
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def go_on(self) -> None:
        """Follow what the client sends, until it leaves or the server ends."""
        num_errors = 0
        while (message := await self._next_message()) is not None:
            event_id: Any = None
            try:
                event = parse_message(message)
                event_id = event.get("event_id")
                await self._follow(event)
            except ApiError as error:
                num_errors += 1
                if error.status not in (400, 404) or num_errors > MAX_ERRORS:
                    raise
                await self._tell_error(error, event_id if isinstance(event_id, str) else None)
        await self._finish()
        raise stopping()

    async def _next_message(self) -> str | bytes | None:
        """What comes next; None once the server ends."""
        receiving = asyncio.ensure_future(self._socket.receive())
        stopping_ = asyncio.ensure_future(self._is_stopping.wait())
        try:
            await asyncio.wait({receiving, stopping_}, return_when=asyncio.FIRST_COMPLETED)
            return receiving.result() if receiving.done() else None
        finally:
            for one in (receiving, stopping_):
                one.cancel()
            await asyncio.gather(receiving, stopping_, return_exceptions=True)

    async def _follow(self, event: dict[str, Any]) -> None:
        follow: dict[str, Callable[[dict[str, Any]], Coroutine[Any, Any, None]]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
        }
        if event["type"] not in follow:
            raise invalid(f"unknown event '{event['type'][:50]}'; use one of: {', '.join(follow)}", "type")
        await follow[event["type"]](event)

    async def _update(self, event: dict[str, Any]) -> None:
        """New settings hold from the next audio on."""
        session = self._session.updated(event.get("session"))
        self._state.pool.find(session.audio.input.transcription.model)
        session.options()  # refuses what cannot be asked for, before it is taken over
        self._session = session
        await self._finish()
        await self._tell_session("session.updated")

    async def _append(self, event: dict[str, Any]) -> None:
        content = event.get("audio")
        if not isinstance(content, str):
            raise invalid("'audio' must be base64", "audio")
        try:
            audio = base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError) as error:
            raise invalid("'audio' is no base64", "audio") from error
        if self._turn is None or self._turn.task.done():  # done: it has failed
            self._turn = await self._open()
        self._seconds += await self._turn.push(audio)
        if self._seconds > self._state.config.max_stream_seconds:
            message = f"a stream may be {self._state.config.max_stream_seconds:g} s long; open another one"
            raise too_large(message, None, "audio_too_long")

    async def _commit(self, _event: dict[str, Any]) -> None:
        if self._turn is None:
            raise invalid("there is no audio to commit", code="input_audio_buffer_commit_empty")
        await self._turn.items.commit()
        await self._finish()

    async def _clear(self, _event: dict[str, Any]) -> None:
        if self._turn is not None:
            self._turn.task.cancel()
            await asyncio.gather(self._turn.task, return_exceptions=True)
            self._turn = None
        await self._socket.send({"type": "input_audio_buffer.cleared", "event_id": new_id("event")})

    async def _open(self) -> _Turn:
        """A stream with the present settings."""
        session = self._session
        stack = AsyncExitStack()
        try:
            name = session.audio.input.transcription.model
            recognizer = await stack.enter_async_context(self._state.pool.use(name))
            self._socket.record.model = self._state.pool.find(name).name
            rate = session.audio.input.format.sample_rate
            live = await open_live(self._state, recognizer, rate, session.options(), session.turns)
            await stack.enter_async_context(live)
        except BaseException:
            await stack.aclose()
            raise
        items = Items(
            self._socket.send,
            self._order,
            self._seconds,
            by_turns=session.turns is not None,
            with_logprobs=session.with_logprobs,
        )
        return _Turn(self._state, live, items, Samples(session.encoding), stack)

    async def _finish(self) -> None:
        """End the stream that is open; what it still has to say is told while others may be open already."""
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.live.finish()
            self._ending.add(turn.task)
            turn.task.add_done_callback(self._ending.discard)
        while len(self._ending) > (0 if self._is_stopping.is_set() else MAX_ENDING):
            await asyncio.wait(self._ending, return_when=asyncio.FIRST_COMPLETED)

    async def _tell_session(self, kind: str) -> None:
        model = self._state.pool.find(self._session.audio.input.transcription.model).name
        session = self._session.to_json(self._name, model)
        await self._socket.send({"type": kind, "event_id": new_id("event"), "session": session})

    async def _tell_error(self, error: ApiError, event_id: str | None) -> None:
        body = {**error.to_json()["error"], "event_id": event_id}
        await self._socket.send({"type": "error", "event_id": new_id("event"), "error": body})


class _Turn:
    """A stream, and the task that tells what is heard in it."""

    def __init__(self, state: ServerState, live: Live, items: Items, samples: Samples, stack: AsyncExitStack) -> None:
        self.live = live
        self.items = items
        self._state = state
        self._samples = samples
        self._stack = stack
        self.task = asyncio.ensure_future(self._tell())

    async def push(self, audio: bytes) -> float:
        """Add audio; its seconds."""
        before = self.live.seconds
        await self.live.push(self._samples.take(audio))
        return self.live.seconds - before

    async def _tell(self) -> None:
        async with self._stack:
            try:
                with suppress(Gone):
                    async for event in self.live.events():
                        await self.items.take(event)
            except Exception as error:
                with suppress(Gone):
                    await self.items.fail(as_api_error(error) or self._state.report(error))
