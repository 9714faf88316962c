"""A server in a thread of the test's own process, on a free port."""

from __future__ import annotations

import functools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from asr.serve.app import create_app
from asr.serve.security import Access
from asr.serve.server import Server, listening_socket
from asr.serve.settings import ServeConfig
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.segmentation import SegmentationConfig

NO_VAD = SegmentationConfig(vad=None)


def loader(folder: Path, segmentation: SegmentationConfig = NO_VAD) -> Callable[[], Recognizer]:
    """Loads a model whose sounds no detector takes for speech."""
    return functools.partial(Recognizer.load, folder, "cpu", segmentation=segmentation)


@contextmanager
def running(
    loaders: Mapping[str, Callable[[], Recognizer]],
    access: Access | None = None,
    wyoming: socket.socket | None = None,
    **settings: Any,
) -> Iterator[str]:
    """The address of a server with these models and settings of `ServeConfig`."""
    with started(loaders, access, wyoming, **settings) as (address, _):
        yield address


@contextmanager
def started(
    loaders: Mapping[str, Callable[[], Recognizer]],
    access: Access | None = None,
    wyoming: socket.socket | None = None,
    **settings: Any,
) -> Iterator[tuple[str, Server]]:
    """The same, and the server."""
    config = ServeConfig(**settings)
    app = create_app(loaders, config, access=access, wyoming=wyoming)
    sock = listening_socket("127.0.0.1", 0)
    server = Server(app, config)
    thread = threading.Thread(target=server.run, args=([sock],), daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{sock.getsockname()[1]}"
    try:
        deadline = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield address, server
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def post(address: str, file: Path | bytes, path: str = "transcriptions", **fields: Any) -> httpx.Response:
    """Send a file with fields; `name_` stands for the field `name[]`."""
    content = file if isinstance(file, bytes) else file.read_bytes()
    data = {f"{name[:-1]}[]" if name.endswith("_") else name: value for name, value in fields.items()}
    return httpx.post(f"{address}/v1/audio/{path}", files={"file": ("a.bin", content)}, data=data, timeout=60)
