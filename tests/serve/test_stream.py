"""The websocket /v1/stream: samples in, events out."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from asr import Recognizer
from asr.audio.io import load_audio
from tests.serve.servers import loader, running


def dial(server: str) -> ClientConnection:
    return connect(f"{server.replace('http', 'ws')}/v1/stream", subprotocols=["asr"], proxy=None)  # type: ignore[list-item]


def pcm(waveform: np.ndarray) -> bytes:
    return (waveform * 32767).astype("<i2").tobytes()


def events_of(socket: ClientConnection) -> list[dict[str, Any]]:
    """All events until the server closes."""
    events = []
    with suppress(ConnectionClosed):
        while True:
            events.append(json.loads(socket.recv(60)))
    return events


def streamed(recognizer: Recognizer, waveform: np.ndarray, rate: int) -> str:
    stream = recognizer.open_stream(rate)
    stream.push(waveform)
    stream.finish()
    return stream.result().text


@pytest.mark.parametrize("step", [333, 100_000])
def test_samples_in_any_pieces_give_the_text_of_the_recognizer(
    server: str, recognizer: Recognizer, file: Path, step: int
) -> None:
    waveform = load_audio(file)
    content = pcm(waveform)
    with dial(server) as socket:
        assert socket.subprotocol == "asr"
        for first in range(0, len(content), step):
            socket.send(content[first : first + step])
        socket.send('{"type": "finish"}')
        first, *others = events_of(socket)
    assert first == {"type": "ready", "model": "tiny", "sample_rate": 16000, "encoding": "s16le"}
    done = others[-1]
    assert done["type"] == "done"
    assert done["duration"] == 2.5
    assert done["text"] == streamed(recognizer, np.frombuffer(content, "<i2") / np.float32(32768), 16000)
    finals = [event for event in others if event["type"] == "final"]
    assert " ".join(event["text"] for event in finals) == done["text"] != ""
    assert finals[0]["words"][0]["confidence"] > 0
    assert socket.close_code == 1000


def test_the_first_message_says_what_comes(server: str, recognizer: Recognizer, file: Path) -> None:
    waveform = load_audio(file, 24000)
    with dial(server) as socket:
        socket.send(json.dumps({"type": "start", "sample_rate": 24000, "encoding": "f32le", "partials": False}))
        assert json.loads(socket.recv())["sample_rate"] == 24000
        socket.send(waveform.astype("<f4").tobytes())
        socket.send('{"type": "finish"}')
        events = events_of(socket)
    assert {event["type"] for event in events} == {"final", "done"}
    assert events[-1]["text"] == streamed(recognizer, waveform, 24000)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (["hello"], "no JSON"),
        (["[1]"], "no JSON object"),
        (['{"type": "finish"}'], "no audio"),
        (['{"type": "start", "sample_rate": 1}'], "sample_rate"),
        (['{"type": "start", "encoding": "mp3"}'], "encoding"),
        (['{"type": "start", "models": "tiny"}'], "models"),
        (['{"type": "start", "model": "../tiny"}'], "there is no model"),
        (['{"type": "start", "hotwords": ["a:b"]}'], "is no number"),
        (['{"type": "start", "model": "whisper", "language": "xx"}'], "language"),
        ([b"\0" * 100, '{"type": "start"}'], "only 'finish'"),
        (['{"type": "start", "encoding": "f32le"}', np.full(99, np.nan, "<f4").tobytes()], "NaN"),
    ],
)
def test_a_wrong_message_is_told_and_ends_the_stream(server: str, messages: list[str | bytes], words: str) -> None:
    with dial(server) as socket:
        for message in messages:
            socket.send(message)
        *_, last = events_of(socket)
    assert last["type"] == "error"
    assert words in last["error"]["message"]
    assert socket.close_code == 1008


def test_limits_end_a_stream(model: Path) -> None:
    with running({"tiny": loader(model)}, max_streams=1, max_stream_seconds=0.5, stream_idle=0.3) as address:
        with dial(address) as first:
            first.send(b"\0" * 100)
            assert json.loads(first.recv())["type"] == "ready"
            with dial(address) as second:
                (event,) = events_of(second)
            assert (event["error"]["code"], second.close_code) == ("rate_limit_exceeded", 1013)
            assert events_of(first)[-1]["error"]["code"] == "timeout"
        with dial(address) as socket:
            socket.send(b"\0" * 20000)
            assert events_of(socket)[-1]["error"]["code"] == "audio_too_long"
            assert socket.close_code == 1009


def is_taken(address: str) -> bool:
    """Open a stream and break the connection; whether there was room for it."""
    with dial(address) as socket, suppress(ConnectionClosed):
        socket.send(b"\0" * 1000)
        is_ready = bool(json.loads(socket.recv(60))["type"] == "ready")
        socket.socket.close()
        return is_ready
    return False


def test_whoever_leaves_makes_room(model: Path) -> None:
    with running({"tiny": loader(model)}, max_streams=1) as address:
        deadline = time.monotonic() + 60
        for _ in range(3):
            while not is_taken(address):
                assert time.monotonic() < deadline


def test_a_message_that_is_too_large_is_refused(server: str) -> None:
    with dial(server) as socket:
        with suppress(ConnectionClosed):
            socket.send(b"\0" * (20 << 20))
        assert events_of(socket) == []
    assert socket.close_code in (1009, 1006)  # the latter where the connection broke before the reason was read
