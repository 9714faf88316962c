"""Beyond its limits the server says so; who leaves is not worked for; what runs at the end is finished."""

from __future__ import annotations

import io
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from websockets.sync.client import connect

from asr import Recognizer
from asr.serve.logs import log_to
from tests.serve.servers import loader, post, running, started


class Gate:
    """A recognizer that recognises nothing as long as the gate is closed."""

    def __init__(self, model: Path) -> None:
        self.open = threading.Event()
        self.recognizer = loader(model)()
        self.num_batches = 0
        recognize = self.recognizer.engine._core._recognize

        def wait(spans: Sequence[Any], options: Sequence[Any]) -> Any:
            self.num_batches += 1
            self.open.wait(60)
            return recognize(spans, options)

        self.recognizer.engine._core._recognize = wait

    def load(self) -> Recognizer:
        return self.recognizer


@pytest.fixture
def gate(model: Path) -> Iterator[Gate]:
    gate = Gate(model)
    yield gate
    gate.open.set()


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def health(address: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{address}/health").json()
    return found


def wav(seconds: float, rate: int = 16000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(round(seconds * rate), np.float32), rate, format="FLAC")
    return file.getvalue()


def test_beyond_the_queue_callers_are_told_to_come_again(gate: Gate, file: Path, text: str) -> None:
    with (
        running({"tiny": gate.load}, max_running=2, max_waiting=1) as address,
        ThreadPoolExecutor(3) as pool,
    ):
        replies = [pool.submit(post, address, file) for _ in range(3)]
        wait_for(lambda: health(address)["running"] + health(address)["waiting"] == 3)
        assert health(address)["waiting"] == 1
        refused = post(address, file)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert int(refused.headers["retry-after"]) >= 1
        gate.open.set()
        assert [reply.result().json()["text"] for reply in replies] == [text] * 3
        assert post(address, file).status_code == 200


def test_who_hangs_up_is_not_worked_for(gate: Gate, file: Path) -> None:
    with running({"tiny": gate.load}, max_running=1, max_waiting=5) as address:
        for fields in ({}, {"stream": "true"}):
            for _ in range(2):  # one runs, one waits for it
                with pytest.raises(httpx.ReadTimeout):
                    httpx.post(
                        f"{address}/v1/audio/transcriptions",
                        files={"file": file.read_bytes()},
                        data=fields,
                        timeout=httpx.Timeout(60, read=0.2),
                    )
            wait_for(lambda: health(address)["running"] + health(address)["waiting"] == 0)
        assert not gate.recognizer.engine._core._scheduler.all()
        gate.open.set()


def test_a_request_that_takes_too_long_ends(gate: Gate, file: Path) -> None:
    with running({"tiny": gate.load}, request_time=0.2) as address:
        reply = post(address, file)
        assert (reply.status_code, reply.json()["error"]["code"]) == (504, "timeout")
        wait_for(lambda: not gate.recognizer.engine._core._scheduler.all())
        gate.open.set()


def test_files_that_are_too_large_or_too_long_are_refused(model: Path) -> None:
    with running({"tiny": loader(model)}, max_upload_mb=0.2, max_audio_seconds=30) as address:
        for content in (b"x" * 220_000, b"x" * 1_000_000):
            reply = post(address, content)
            assert (reply.status_code, reply.json()["error"]["code"]) == (413, "file_too_large")
        hour = wav(3600)
        assert len(hour) < 200_000  # a small file that is a long recording
        for fields in ({}, {"stream": "true"}):
            reply = post(address, hour, **fields)
            assert (reply.status_code, reply.json()["error"]["code"]) == (413, "audio_too_long")
        assert post(address, wav(20)).status_code == 200
        reply = post(address, b"x", prompt="a" * 200_000)
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "fields_too_large")


@contextmanager
def raw_connection(address: str) -> Iterator[socket.socket]:
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as sock:
        yield sock


def test_slow_clients_are_not_waited_for(model: Path) -> None:
    head = b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b"
    with running({"tiny": loader(model)}, upload_idle=0.3, upload_time=1.0) as address:
        with raw_connection(address) as sock:  # never says what it wants
            sock.sendall(head[:40])
            assert sock.recv(100) == b""
        with raw_connection(address) as sock:  # says what it wants and sends nothing
            sock.sendall(head + b"\r\ncontent-length: 1000\r\n\r\n--b")
            assert sock.recv(1000).startswith(b"HTTP/1.1 408 ")
        with raw_connection(address) as sock:  # sends a byte now and then
            sock.sendall(head + b"\r\ncontent-length: 1000\r\n\r\n--b\r\n")
            for _ in range(30):
                try:
                    sock.sendall(b"a")
                except OSError:
                    break
                time.sleep(0.1)
            assert sock.recv(1000).startswith(b"HTTP/1.1 408 ")
        wait_for(lambda: health(address)["waiting"] == 0)


def test_models_are_loaded_when_asked_for_and_let_go_when_idle(model: Path, file: Path, text: str) -> None:
    loads: list[str] = []

    def load(name: str) -> Callable[[], Recognizer]:
        return lambda: loads.append(name) or loader(model)()  # type: ignore[func-returns-value]

    def loaded(address: str) -> list[bool]:
        return [one["loaded"] for one in httpx.get(f"{address}/v1/models").json()["data"]]

    with running({"a": load("a"), "b": load("b")}, unload_after=0.2) as address:
        assert loads == ["a"]
        for count in (1, 2):
            assert post(address, file, model="b").json()["text"] == text
            assert loads.count("b") == count
            wait_for(lambda: loaded(address) == [True, False])
        assert post(address, file).json()["text"] == text
        assert loads == ["a", "b", "b"]


def test_a_model_that_cannot_be_loaded_is_unavailable(model: Path, tmp_path: Path, file: Path) -> None:
    with running({"a": loader(model), "b": loader(tmp_path)}) as address:
        reply = post(address, file, model="b")
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "model_unavailable")
        assert str(tmp_path) not in reply.text


def test_what_runs_is_finished_when_the_server_is_told_to_stop(gate: Gate, file: Path, text: str) -> None:
    with (
        started({"tiny": gate.load}) as (address, server),
        ThreadPoolExecutor(1) as pool,
        httpx.Client() as kept,
        connect(f"{address.replace('http', 'ws')}/v1/stream", proxy=None) as stream,
    ):
        kept.get(f"{address}/health")
        reply = pool.submit(post, address, file)
        wait_for(lambda: gate.num_batches > 0)
        stream.send(b"\0" * 32000)
        assert json.loads(stream.recv())["type"] == "ready"
        server.should_exit = True
        *_, done, error = [json.loads(message) for message in iter(lambda: receive(stream), None)]
        assert done["type"] == "done"
        assert error["error"]["code"] == "shutting_down"
        assert stream.close_code == 1001
        refused = kept.post(f"{address}/v1/audio/transcriptions", files={"file": file.read_bytes()})
        assert refused.status_code == 503
        gate.open.set()
        assert reply.result().json()["text"] == text


def receive(stream: Any) -> str | None:
    try:
        return str(stream.recv(30))
    except Exception:
        return None


def test_the_log_says_what_happened_and_nothing_of_what_was_said(model: Path, file: Path, text: str) -> None:
    lines = io.StringIO()
    log_to(lines)
    try:
        with running({"tiny": loader(model)}) as address:
            reply = post(address, file, prompt="my secret", model="tiny")
            post(address, b"my secret", model="my secret")
            httpx.get(f"{address}/my-secret?prompt=secret")
            page = httpx.get(f"{address}/metrics").text
    finally:
        logging.getLogger("asr.serve").handlers = []
    assert reply.status_code == 400  # a prompt, and a model that takes none
    rows = [json.loads(line) for line in lines.getvalue().splitlines()]
    requests = [row for row in rows if row["event"] == "request"]
    assert [(row["path"], row["code"]) for row in requests[:3]] == [
        ("/v1/audio/transcriptions", 400),
        ("/v1/audio/transcriptions", 404),
        ("other", 404),
    ]
    assert requests[0]["id"] == reply.headers["x-request-id"]
    assert "secret" not in lines.getvalue()
    assert 'asr_requests_total{code="404",path="/v1/audio/transcriptions"} 1.0' in page
    assert 'asr_model_loaded{model="tiny"} 1.0' in page


def test_metrics_count_audio_batches_and_streams(model: Path, file: Path) -> None:
    with running({"tiny": loader(model)}) as address:
        for _ in range(2):
            post(address, file)
        with connect(f"{address.replace('http', 'ws')}/v1/stream", proxy=None) as stream:
            samples, _ = soundfile.read(file, dtype="int16")
            stream.send(samples.tobytes())
            stream.send('{"type": "finish"}')
            while receive(stream) is not None:
                pass
        page = httpx.get(f"{address}/metrics").text
    assert 'asr_audio_seconds_total{model="tiny",path="/v1/audio/transcriptions"} 5.0' in page
    assert 'asr_audio_seconds_total{model="tiny",path="/v1/stream"} 2.5' in page
    assert 'asr_batch_size_count{model="tiny"} 2.0' in page
    assert "asr_finalization_seconds_count 1.0" in page
    assert "asr_first_partial_seconds_count 1.0" in page
    assert "asr_queue_depth 0.0" in page
