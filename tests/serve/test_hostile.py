"""Whatever is sent, the answer is an error of the caller's or a transcript, never a fault of the server's."""

from __future__ import annotations

import gc
import io
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from tests.serve import hostile
from tests.serve.servers import loader, post, running, started

FINE = {200, 400, 401, 403, 404, 405, 408, 411, 413, 421, 426, 429, 431, 501}
NUM_REQUESTS = 10_000
PATHS = ("/v1/stream", "/v1/realtime", "/v1/nothing")


@pytest.fixture(scope="module")
def impatient(model: Path) -> Iterator[str]:
    """A server that does not wait long for what a request promised."""
    with running({"tiny": loader(model)}, upload_idle=0.3, max_audio_seconds=60.0) as address:
        yield address


@given(st.integers(0, 2**64))
@settings(max_examples=60)
def test_no_request_makes_the_server_fail(impatient: str, seed: int) -> None:
    request = hostile.http_request(random.Random(seed))
    assert is_fine(hostile.status_of(impatient, request), request)


def is_fine(status: int | None, request: bytes) -> bool:
    """Whether that is an answer; there need not be one to a request that never said what it wants."""
    return status in FINE or (status is None and b"\r\n\r\n" not in request)


def test_fields_whose_names_no_header_can_carry_are_not_named(server: str, file: Path) -> None:
    form = {"file": file.read_bytes(), "": (None, b"x"), "\u00e4\u2028": (None, b"x")}
    reply = httpx.post(f"{server}/v1/audio/transcriptions", files=form)
    assert reply.status_code == 200
    assert "x-ignored-fields" not in reply.headers


@given(st.data())
@settings(max_examples=30)
def test_a_form_that_breaks_off_is_refused_wherever_it_does(server: str, file: Path, data: st.DataObject) -> None:
    head = '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = head.encode() + file.read_bytes()[:2000] + b"\r\n--b--\r\n"
    cut = data.draw(st.integers(0, len(body) - 5))
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert httpx.post(f"{server}/v1/audio/transcriptions", content=body[:cut], headers=headers).status_code == 400


@given(st.integers(0, 2**64), st.sampled_from(PATHS))
@settings(max_examples=40)
def test_no_messages_make_a_websocket_fail(server: str, seed: int, path: str) -> None:
    assert close_code(server, path, hostile.messages(random.Random(seed))) not in (1011, 1006)


def close_code(server: str, path: str, messages: list[str | bytes]) -> int | None:
    """How the server closes a websocket on which these come before the client leaves; None: it refuses it."""
    try:
        with connect(server.replace("http", "ws") + path, proxy=None, close_timeout=30) as sock:
            _send_all(sock, messages)
        return sock.close_code
    except InvalidHandshake:
        return None


def _send_all(sock: ClientConnection, messages: list[str | bytes]) -> None:
    with suppress(ConnectionClosed):
        for message in messages:
            sock.send(message)


@given(content=st.binary(max_size=60))
@settings(max_examples=30)
def test_bytes_that_are_no_audio_are_no_audio(server: str, content: bytes) -> None:
    assert post(server, content).status_code == 400


def test_samples_that_are_no_numbers_are_refused(server: str) -> None:
    for value in (np.nan, np.inf, 1e30):
        file = io.BytesIO()
        soundfile.write(file, np.full(16000, value), 16000, format="WAV", subtype="FLOAT")
        reply = post(server, file.getvalue())
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "file")


def test_a_long_recording_in_a_small_container_is_refused(model: Path) -> None:
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        stream = container.add_stream("libopus", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000 * 30), np.int16), format="s16", layout="mono")
        frame.sample_rate = 48000
        for place in range(6):  # three minutes
            frame.pts = place * 48000 * 30
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    assert len(file.getvalue()) < 100_000
    with running({"tiny": loader(model)}, max_audio_seconds=60.0) as address:
        reply = post(address, file.getvalue())
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "audio_too_long")


def test_huge_headers_and_endless_lines_are_refused(server: str) -> None:
    for request in (
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"G" * 200_000,
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,  # TLS
    ):
        assert hostile.status_of(server, request) in (400, 431, None)
    assert httpx.get(f"{server}/health").status_code == 200


def memory_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


@pytest.mark.slow
def test_ten_thousand_hostile_requests_leave_no_trace(model: Path) -> None:
    counts: Counter[int | None] = Counter()

    def attack(address: str, seed: int) -> None:
        rng = random.Random(seed)
        if rng.random() < 0.1:
            code = close_code(address, rng.choice(PATHS), hostile.messages(rng))
            assert code not in (1011, 1006), seed
        else:
            request, is_patient = hostile.http_request(rng), rng.random() < 0.95
            status = hostile.status_of(address, request, is_patient=is_patient)
            assert not is_patient or is_fine(status, request), seed
            counts[status] += 1

    with (
        started({"tiny": loader(model)}, max_audio_seconds=60.0, upload_idle=0.5) as (address, server),
        ThreadPoolExecutor(8) as pool,
    ):
        list(pool.map(lambda seed: attack(address, seed), range(NUM_REQUESTS // 5)))
        folder: Path = server.app.state.server.folder
        memory, files, threads = memory_mb(), num_open_files(), threading.active_count()
        list(pool.map(lambda seed: attack(address, seed), range(NUM_REQUESTS // 5, NUM_REQUESTS)))
        assert counts[200] > NUM_REQUESTS // 100
        assert counts[400] > NUM_REQUESTS // 10
        for _ in range(600):
            state = httpx.get(f"{address}/health").json()
            if not (state["running"] or state["waiting"] or state["streams"]):
                break
        else:
            pytest.fail(f"the server is still at work: {state}")
        assert list(folder.iterdir()) == []
        gc.collect()
        assert num_open_files() <= files + 5
        assert threading.active_count() <= threads + 5
        assert memory_mb() < memory + 100
    assert not folder.exists()


def num_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_client_that_sends_a_byte_at_a_time_is_served(server: str) -> None:
    host, _, port = server.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as sock:
        for byte in b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n":
            sock.sendall(bytes([byte]))
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "request_",
    [
        "POST /v1/stream HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
        "POST /v1/audio/transcriptions HTTP/1.1\r\nContent-Length: 5\r\n",
        "GET /v1/stream HTTP/1.1\r\n",
        "GET /v1/stream HTTP/1.1\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n",
        "GET /v1/stream HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 99\r\n",
    ],
)
def test_a_handshake_that_is_none_is_refused(server: str, request_: str) -> None:
    request = f"{request_}Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello".encode()
    assert hostile.status_of(server, request) == 400
