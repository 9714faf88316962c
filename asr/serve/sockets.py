"""What all websockets have in common: greetings, time limits, errors as events, a close code for each end."""

from __future__ import annotations

import asyncio
import json
import uuid
from types import TracebackType
from typing import Any, Self

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from asr.serve.errors import ApiError, as_api_error
from asr.serve.state import Record, ServerState
from asr.serve.uploads import Gone

NORMAL, GOING_AWAY, POLICY, TOO_LARGE, INTERNAL, AGAIN = 1000, 1001, 1008, 1009, 1011, 1013
CODES = {413: TOO_LARGE, 429: AGAIN, 503: GOING_AWAY, 500: INTERNAL}


class Socket:
    """A websocket that was accepted. Leaving the block closes it; an error is told first, as {"type": "error"}."""

    def __init__(self, websocket: WebSocket, state: ServerState, protocol: str) -> None:
        self._websocket = websocket
        self._state = state
        self._protocol = protocol
        self._sending = asyncio.Lock()
        self.record = Record.of(websocket.scope)

    async def __aenter__(self) -> Self:
        offered = self._websocket.scope.get("subprotocols", [])
        await self._websocket.accept(self._protocol if self._protocol in offered else None)
        return self

    async def receive(self) -> str | bytes:
        """The next message; Gone where the caller leaves, ApiError 408 where none comes in time."""
        seconds = self._state.config.stream_idle
        try:
            message = await asyncio.wait_for(self._websocket.receive(), seconds)
        except TimeoutError:
            raise ApiError(408, f"nothing came for {seconds:g} s", code="timeout") from None
        if message["type"] != "websocket.receive":
            raise Gone
        content = message.get("bytes")
        return content if content is not None else message.get("text") or ""

    async def send(self, event: dict[str, Any]) -> None:
        """One event; Gone where nobody takes it."""
        text = json.dumps(event, ensure_ascii=False).encode("utf-8", "replace").decode()
        try:
            async with self._sending:
                await self._websocket.send_text(text)
        except (WebSocketDisconnect, RuntimeError, OSError) as error:
            raise Gone from error

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        if error is None:
            await self._close(NORMAL)
            return True
        if isinstance(error, Gone):
            self.record.is_gone = True
            return True
        if not isinstance(error, Exception):
            return False
        told = as_api_error(error) or self._state.report(error)
        self.record.code = told.code
        try:
            await self.send({"type": "error", "event_id": uuid.uuid4().hex, **told.to_json()})
            await self._close(CODES.get(told.status, POLICY))
        except Gone:
            self.record.is_gone = True
        return True

    async def _close(self, code: int) -> None:
        if self._websocket.application_state == WebSocketState.CONNECTED:
            try:
                await self._websocket.close(code)
            except (RuntimeError, OSError) as error:
                raise Gone from error
