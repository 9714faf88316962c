"""Clients of the benchmark `serve`: so many at once, on files or on streams, and what they had to wait for."""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from websockets.asyncio.client import connect

BOUNDARY = "of-the-benchmark"
BLOCK_SECONDS = 0.08
RATE = 16000


@dataclass(frozen=True)
class Reply:
    """What one client got."""

    text: str
    seconds: float  # that it waited
    began: float
    ended: float


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so many of all are at most."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def form_of(file: Path) -> bytes:
    """The body that sends a file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.ogg"\r\n\r\n'
    return head.encode() + file.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()


def send_files(port: int, files: Sequence[Path], num_clients: int, stop_after: float = math.inf) -> list[Reply]:
    """All files by so many clients, each of which sends the next as soon as it has its answer, over one connection.

    The replies are in the order of the files; after `stop_after` seconds no more are sent. Any other answer than 200
    is an error.
    """
    bodies = [form_of(file) for file in files]
    replies: list[Reply | None] = [None] * len(bodies)
    places = iter(range(len(bodies)))
    lock = threading.Lock()
    deadline = time.perf_counter() + stop_after

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        while time.perf_counter() < deadline:
            with lock:
                place = next(places, None)
            if place is None:
                break
            began = time.perf_counter()
            connection.request("POST", "/v1/audio/transcriptions", bodies[place], headers)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200, content
            ended = time.perf_counter()
            replies[place] = Reply(json.loads(content)["text"], ended - began, began, ended)
        connection.close()

    with ThreadPoolExecutor(num_clients) as pool:
        for future in [pool.submit(work) for _ in range(num_clients)]:
            future.result()
    return [reply for reply in replies if reply is not None]


def speak(port: int, waveforms: Sequence[np.ndarray]) -> tuple[list[Reply], list[float]]:
    """Speak waveforms (N,) at 16 kHz in as many streams at once, each at its own speed.

    What each waited for is from its last sample to its text. Also the seconds, over all streams, from the end of each
    final segment to its arrival.
    """
    return asyncio.run(_speak_all(port, waveforms))


async def _speak_all(port: int, waveforms: Sequence[np.ndarray]) -> tuple[list[Reply], list[float]]:
    waits: list[float] = []

    async def follow(place: int, waveform: np.ndarray) -> Reply:
        await asyncio.sleep(BLOCK_SECONDS * place / len(waveforms))  # people do not begin together
        return await _speak(port, waveform, waits)

    return list(await asyncio.gather(*(follow(place, one) for place, one in enumerate(waveforms)))), waits


async def _speak(port: int, waveform: np.ndarray, waits: list[float]) -> Reply:
    content = (np.clip(waveform, -1, 1) * 32767).astype("<i2").tobytes()
    step = round(BLOCK_SECONDS * RATE) * 2
    async with connect(f"ws://127.0.0.1:{port}/v1/stream", proxy=None, compression=None) as socket:
        await socket.send('{"type": "start", "language": "en"}')
        await socket.recv()
        began = time.perf_counter()

        async def push() -> float:
            for place, first in enumerate(range(0, len(content), step), start=1):
                await asyncio.sleep(max(0.0, began + place * BLOCK_SECONDS - time.perf_counter()))
                await socket.send(content[first : first + step])
            await socket.send('{"type": "finish"}')
            return time.perf_counter()

        pushing = asyncio.ensure_future(push())
        async for message in socket:
            event = json.loads(message)
            now = time.perf_counter()
            if event["type"] == "final":
                waits.append(now - began - event["end"])
            if event["type"] == "done":
                return Reply(event["text"], now - await pushing, began, now)
            assert event["type"] != "error", event
    raise AssertionError("the stream ended without 'done'")
