"""Runs the application until it is told to stop."""

from __future__ import annotations

import socket
import warnings
from typing import Any

import uvicorn

from asr.errors import AudioWarning, ConfigError

MAX_HEADER_BYTES = 32 * 1024


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; ConfigError where the address is taken or no address of this machine."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"cannot listen at {host}:{port} ({reason}); choose another --port or --host") from error


def serve(app: Any, sock: socket.socket) -> None:
    """Answer requests until SIGINT or SIGTERM; what runs then is finished."""
    warnings.simplefilter("ignore", AudioWarning)  # whoever sent a recording cannot read them here
    config = uvicorn.Config(app, log_level="warning", h11_max_incomplete_event_size=MAX_HEADER_BYTES, http="h11")
    uvicorn.Server(config).run([sock])
