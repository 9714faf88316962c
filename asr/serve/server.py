"""Runs the application until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from asr.errors import ConfigError
from asr.serve.settings import ServeConfig
from asr.serve.state import ServerState

MAX_HEADER_BYTES = 32 * 1024
MAX_MESSAGE_BYTES = 1024 * 1024  # of a websocket
MAX_MESSAGES = 8  # of a websocket that wait to be read
LOOK_SECONDS = 0.05  # between two looks whether all is done


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; ConfigError where the address is taken or no address of this machine."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number and not isinstance(error, socket.gaierror) else str(error)
        raise ConfigError(f"cannot listen at {host}:{port} ({reason}); choose another --port or --host") from error


class Protocol(H11Protocol):
    """Hangs up on whoever takes longer than `header_seconds` to say what he wants."""

    header_seconds = 30.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        self._watch()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """The connection is somebody else's from now on, who would wait for ever where this is no handshake."""
        self._stop()
        names = {name for name, _ in self.headers}
        has_body = bool(names & {b"content-length", b"transfer-encoding"})
        if event.method != b"GET" or has_body or b"sec-websocket-key" not in names:
            self.send_400_response("this is no handshake of a websocket")
            return
        self._is_upgraded = True
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._stop()
        super().connection_lost(exc)

    _is_upgraded = False

    def _watch(self) -> None:
        if self._is_upgraded:
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.header_seconds, self._hang_up)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hang_up(self) -> None:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


class Server(uvicorn.Server):
    """Finishes what runs before it ends. `interrupted` says whether it was Ctrl-C that ended it."""

    def __init__(self, app: Any, config: ServeConfig) -> None:
        protocol = type("OwnProtocol", (Protocol,), {"header_seconds": config.upload_idle})
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws="websockets-sansio",
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_max_queue=MAX_MESSAGES,
                ws_per_message_deflate=False,  # a small message could hold gigabytes
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=2,  # what has not ended by then had its time in `shutdown`
            )
        )
        self.app = app
        self._own = config
        self.interrupted = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the server, and a second one at once; the process goes on after that."""

        def take(number: int, frame: Any) -> None:
            self.interrupted = self.interrupted or number == signal.SIGINT
            self.handle_exit(number, frame)

        try:
            before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not in the main thread, as in tests
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, finish files, end streams with what was said so far; then close."""
        for server in self.servers:
            server.close()
        state: ServerState = self.app.state.server
        state.close_doors()
        deadline = asyncio.get_running_loop().time() + self._own.shutdown_time
        while state.num_guests and not self.force_exit and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
        await super().shutdown(sockets)


def serve(app: Any, sock: socket.socket, config: ServeConfig) -> bool:
    """Answer requests until SIGINT or SIGTERM; whether it was SIGINT, Ctrl-C. What runs then is finished."""
    warnings.simplefilter("ignore")  # they would quote what was sent, and whoever sent it cannot read them here
    server = Server(app, config)
    server.run([sock])
    return server.interrupted
