"""/v1/stream: samples in, JSON events out, for people who write their own client. docs/serving.md describes it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Literal

from fastapi import APIRouter, WebSocket
from pydantic import Field

from asr.registry import Config
from asr.serve.errors import invalid, stopping
from asr.serve.forms import parse_hotwords, search_for
from asr.serve.live import Live, open_live
from asr.serve.messages import checked, parse_message
from asr.serve.samples import Samples
from asr.serve.sockets import Socket
from asr.serve.state import ServerState
from asr.transcribe.recognizer import LIVE_OPTIONS
from asr.transcribe.requests import RequestOptions
from asr.transcribe.streaming.listen import event_to_json

router = APIRouter()
PROTOCOL = "asr"


class Start(Config):
    """The first message of a client that wants anything but the defaults."""

    type: Literal["start"]
    model: str | None = Field(None, max_length=200)
    sample_rate: int = Field(16000, ge=1000, le=192000)
    encoding: Literal["s16le", "f32le"] = "s16le"
    language: str | None = Field(None, max_length=20)
    prompt: str | None = Field(None, max_length=20000)
    hotwords: tuple[str, ...] = ()
    partials: bool = True


@router.websocket("/v1/stream")
async def stream(websocket: WebSocket) -> None:
    """See the module."""
    state: ServerState = websocket.app.state.server
    async with Socket(websocket, state, PROTOCOL) as socket, state.streams.enter():
        first = await socket.receive()
        start = Start(type="start")
        if isinstance(first, str):
            start, first = _start(first), b""
        async with state.pool.use(start.model) as recognizer:
            options = _options(start)
            live = await open_live(state, recognizer, start.sample_rate, options)
            async with live:
                model = state.pool.find(start.model).name
                socket.record.model = model
                await socket.send(
                    {"type": "ready", "model": model, "sample_rate": start.sample_rate, "encoding": start.encoding}
                )
                await _talk(socket, live, start, first)


async def _talk(socket: Socket, live: Live, start: Start, first: bytes) -> None:
    """Send events while samples come, until the last one."""

    async def push_all() -> None:
        reader = Samples(start.encoding)
        message: str | bytes = first
        while True:
            if isinstance(message, str):
                _check_finish(message)
                live.finish()
                return
            await live.push(reader.take(message))
            message = await socket.receive()

    pushing = asyncio.ensure_future(push_all())
    try:
        async for event in live.events_while(pushing):
            row = event_to_json(event)
            if row is not None:
                await socket.send(row)
    finally:
        pushing.cancel()
        await asyncio.gather(pushing, return_exceptions=True)
        socket.record.audio_seconds = live.seconds
    if live.is_cut:
        raise stopping()


def _start(text: str) -> Start:
    message = parse_message(text)
    if message.get("type") == "finish":
        raise invalid("there was no audio before 'finish'", code="no_audio")
    return checked(Start, message)


def _check_finish(text: str) -> None:
    if parse_message(text)["type"] != "finish":
        raise invalid("after the first samples only 'finish' may come", code="bad_message")


def _options(start: Start) -> RequestOptions:
    search = search_for(parse_hotwords(start.hotwords))
    return replace(
        LIVE_OPTIONS, search=search, language=start.language, prompt=start.prompt or None, partials=start.partials
    )
