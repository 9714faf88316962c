"""ASGI middleware around everything: a request id, one line of the log and the metrics for each request."""

from __future__ import annotations

import logging
import time
import uuid
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asr.serve.metrics import Metrics
from asr.serve.state import Record

LOG = logging.getLogger("asr.serve")
OTHER = "other"  # the path of what belongs to no route
QUIET = ("/health", "/metrics")  # asked for every few seconds
GONE = 499  # as nginx logs it where the caller left


class Watch:
    """Sees every request begin and end."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI wants it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        record = Record.of(scope)
        name = uuid.uuid4().hex
        code = 101 if scope["type"] == "websocket" else 500

        async def send_watched(message: Message) -> None:
            nonlocal code
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                code = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", name.encode())]}
            elif message["type"] == "websocket.close":
                code = message.get("code", 1000)
            await send(message)

        try:
            await self._app(scope, receive, send_watched)
        finally:
            self._tell(scope, record, name, GONE if record.is_gone else code, time.monotonic() - began)

    def _tell(self, scope: Scope, record: Record, name: str, code: int, seconds: float) -> None:
        path = getattr(scope.get("route"), "path", OTHER)
        tell_request(self._metrics, scope.get("method", "WEBSOCKET"), path, code, seconds, record, name)


def tell_request(
    metrics: Metrics, method: str, path: str, code: int | str, seconds: float, record: Record, name: str
) -> None:
    """Count a request that ended, and log it by its id `name`."""
    metrics.requests.labels(path, str(code)).inc()
    metrics.request_seconds.labels(path).observe(seconds)
    if record.audio_seconds is not None and record.model is not None:
        metrics.audio_seconds.labels(path, record.model).inc(record.audio_seconds)
    LOG.log(
        logging.DEBUG if path in QUIET and code == HTTPStatus.OK else logging.INFO,
        "request",
        extra={
            "id": name,
            "method": method,
            "path": path,
            "code": code,
            "error_code": record.code,
            "seconds": round(seconds, 3),
            "audio_seconds": None if record.audio_seconds is None else round(record.audio_seconds, 3),
            "model": record.model,
        },
    )
