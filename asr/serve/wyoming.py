"""The Wyoming protocol, by which Home Assistant and its satellites have speech recognised, on a port of its own.

An event is one line of JSON {type, data, data_length, payload_length}, then so many bytes of JSON that belong to its
data, then so many of audio: describe -> info; transcribe, audio-start, audio-chunk ..., audio-stop -> transcript.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import Field

from asr import __version__
from asr.bundle.foreign.whisper_tables import LANGUAGES
from asr.bundle.prompting import known_languages
from asr.registry import Config
from asr.serve.errors import ApiError, as_api_error, invalid
from asr.serve.forms import parse_hotwords, search_for
from asr.serve.live import Live, open_recording
from asr.serve.messages import checked, parse_message, parse_object
from asr.serve.models import Model
from asr.serve.state import Record, ServerState
from asr.serve.uploads import Gone
from asr.serve.watch import tell_request
from asr.transcribe.events import Done, SegmentReady
from asr.transcribe.requests import RequestOptions

DEFAULT_PORT = 10300
MAX_LINE = 64 * 1024  # bytes, of the JSON of an event as well
MAX_PAYLOAD = 1024 * 1024
ATTRIBUTION = {"name": "asr", "url": "https://github.com/rhasspy/wyoming"}
WIDTHS: dict[int, np.dtype[Any]] = {1: np.dtype("u1"), 2: np.dtype("<i2"), 4: np.dtype("<i4")}
LOG = logging.getLogger("asr.serve")


def _languages(model: Model) -> list[str]:
    """The codes that a model takes: all where it ignores them, and as long as nobody knows which."""
    known = () if model.recognizer is None else known_languages(model.recognizer.bundle)
    return list(known or LANGUAGES)


@dataclass
class Event:
    """One message."""

    type: str
    data: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""


class Transcribe(Config, extra="ignore"):
    """What a client wants."""

    name: str | None = Field(None, max_length=200)
    language: str | None = Field(None, max_length=20)
    transcript_names: tuple[str, ...] | None = None  # words to expect
    transcript_terms: tuple[str, ...] | None = None


class AudioFormat(Config, extra="ignore"):
    """What samples look like: integers of so many bytes, in turns of the channels."""

    rate: int = Field(ge=1000, le=192000)
    width: int = Field(ge=1, le=4)
    channels: int = Field(ge=1, le=16)

    def samples(self, payload: bytes) -> np.ndarray:
        """(N,) float32 in [-1, 1], the mean of the channels; ApiError 400 for a width that nobody uses."""
        if self.width not in WIDTHS:
            raise invalid(f"width: samples have 1, 2 or 4 bytes, not {self.width}", "width")
        whole = len(payload) // (self.width * self.channels) * self.width * self.channels
        values = np.frombuffer(payload[:whole], WIDTHS[self.width]).astype(np.float32)
        scaled = (values - 128) / 128 if self.width == 1 else values / float(2 ** (8 * self.width - 1))
        return np.asarray(scaled.reshape(-1, self.channels).mean(1), dtype=np.float32)


async def start_wyoming(state: ServerState, sock: Any) -> asyncio.Server:
    """A server at a socket that listens."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Connection(state, reader, writer).go_on()

    return await asyncio.start_server(handle, sock=sock, limit=MAX_LINE)


class Connection:
    """One client, which may ask several times."""

    def __init__(self, state: ServerState, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._state = state
        self._reader = reader
        self._writer = writer
        self._wanted = Transcribe()

    async def go_on(self) -> None:
        """Answer until the client leaves or makes a mistake, which it is told."""
        try:
            while (event := await self._read()) is not None:
                await self._follow(event)
        except (Gone, OSError):
            pass
        except Exception as error:
            told = as_api_error(error) or self._state.report(error)
            await self._tell_error(told)
        finally:
            self._writer.close()

    async def _follow(self, event: Event) -> None:
        match event.type:
            case "describe":
                await self._write(Event("info", {"asr": [self._program()]}))
            case "ping":
                await self._write(Event("pong", {"text": event.data.get("text")}))
            case "transcribe":
                self._wanted = checked(Transcribe, event.data)
            case "audio-start":
                await self._transcribe(checked(AudioFormat, event.data))

    async def _transcribe(self, audio: AudioFormat) -> None:
        """Everything from audio-start to the transcript."""
        record, began, code = Record(), time.monotonic(), "ok"
        try:
            async with self._state.streams.enter(), self._state.pool.use(self._wanted.name) as recognizer:
                record.model = self._state.pool.find(self._wanted.name).name
                live = await open_recording(self._state, recognizer, audio.rate, self._options())
                async with live:
                    await self._talk(live, audio)
                    record.audio_seconds = live.seconds
        except (Gone, OSError):
            code = "gone"
            raise
        except Exception as error:
            code = (as_api_error(error) or self._state.report(error)).code or "error"
            raise
        finally:
            seconds = time.monotonic() - began
            tell_request(self._state.metrics, "WYOMING", "wyoming", code, seconds, record, uuid.uuid4().hex)

    async def _talk(self, live: Live, audio: AudioFormat) -> None:
        pushing = asyncio.ensure_future(self._push_all(live, audio))
        num_texts = 0
        try:
            await self._write(Event("transcript-start", self._language()))
            async for event in live.events_while(pushing):
                if isinstance(event, SegmentReady) and event.segment.text:
                    text = f" {event.segment.text}" if num_texts else event.segment.text
                    num_texts += 1
                    await self._write(Event("transcript-chunk", {"text": text}))
                elif isinstance(event, Done):
                    await self._write(Event("transcript", {"text": event.transcript.text, **self._language()}))
                    await self._write(Event("transcript-stop"))
        finally:
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)

    async def _push_all(self, live: Live, audio: AudioFormat) -> None:
        while True:
            event = await self._read()
            if event is None:
                raise Gone
            if event.type == "audio-stop":
                live.finish()
                return
            if event.type == "audio-chunk":
                await live.push(audio.samples(event.payload))

    def _options(self) -> RequestOptions:
        words = [*(self._wanted.transcript_names or ()), *(self._wanted.transcript_terms or ())]
        return RequestOptions(search_for(parse_hotwords(words)), self._wanted.language)

    def _language(self) -> dict[str, Any]:
        return {} if self._wanted.language is None else {"language": self._wanted.language}

    def _program(self) -> dict[str, Any]:
        about = {"attribution": ATTRIBUTION, "installed": True, "version": __version__}
        models = [
            {
                "name": model.name,
                "description": model.name,
                "languages": _languages(model),
                **about,
            }
            for model in self._state.pool.models.values()
        ]
        return {
            "name": "asr",
            "description": "speech recognition",
            "models": models,
            "supports_transcript_streaming": True,
            **about,
        }

    async def _read(self) -> Event | None:
        """The next event; None where the client has left. ApiError for what is none, or comes too slowly."""
        seconds = self._state.config.stream_idle
        try:
            return await asyncio.wait_for(self._read_event(), seconds)
        except TimeoutError:
            raise ApiError(408, f"nothing came for {seconds:g} s", code="timeout") from None
        except asyncio.IncompleteReadError:
            return None
        except ValueError as error:  # of the reader: no end of line within its limit
            raise invalid("the line is too long", code="bad_message") from error

    async def _read_event(self) -> Event | None:
        line = await self._reader.readline()
        if not line.strip():
            return None
        head = parse_message(line)
        sizes = [head.get(name) or 0 for name in ("data_length", "payload_length")]
        if any(type(size) is not int or size < 0 for size in sizes) or sizes[0] > MAX_LINE or sizes[1] > MAX_PAYLOAD:
            raise invalid("data_length or payload_length is impossible or too large", code="bad_message")
        data = parse_object(head.get("data") or {})
        if sizes[0]:
            data = {**data, **parse_object(await self._reader.readexactly(sizes[0]))}
        return Event(head["type"], data, await self._reader.readexactly(sizes[1]))

    async def _write(self, event: Event) -> None:
        data = json.dumps(event.data).encode()
        head = {"type": event.type, "version": __version__, "data_length": len(data)}
        self._writer.write(json.dumps(head).encode() + b"\n" + data)
        await self._writer.drain()

    async def _tell_error(self, error: ApiError) -> None:
        try:
            await self._write(Event("error", {"text": error.message, "code": error.code or str(error.status)}))
        except OSError:
            return
