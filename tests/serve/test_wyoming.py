"""Wyoming, with its own client."""

from __future__ import annotations

import asyncio
import json
import socket
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from wyoming.asr import Transcribe, Transcript, TranscriptChunk
from wyoming.audio import AudioChunk, AudioStart, wav_to_chunks
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from asr.serve.server import listening_socket
from asr.serve.wyoming import AudioFormat
from tests.serve.servers import loader, running


@pytest.fixture(scope="module")
def port(model: Path, whisper: Path) -> Iterator[int]:
    sock = listening_socket("127.0.0.1", 0)
    with running({"tiny": loader(model), "whisper": loader(whisper)}, wyoming=sock, stream_idle=5.0):
        yield sock.getsockname()[1]


def asked(port: int, *events: Any, until: str) -> list[Event]:
    """The answers to some events, up to one of a type; none after the server hung up."""

    async def ask() -> list[Event]:
        answers: list[Event] = []
        async with AsyncTcpClient("127.0.0.1", port) as client:
            for event in events:
                await client.write_event(event if isinstance(event, Event) else event.event())
            while (answer := await client.read_event()) is not None:
                answers.append(answer)
                if answer.type == until:
                    break
        return answers

    return asyncio.run(asyncio.wait_for(ask(), 60))


def spoken(file: Path) -> list[Any]:
    with wave.open(str(file)) as wav:
        return list(wav_to_chunks(wav, 1024, start_event=True, stop_event=True))


def test_models_are_described(port: int) -> None:
    (answer,) = asked(port, Describe(), until="info")
    (program,) = Info.from_event(answer).asr
    assert [model.name for model in program.models] == ["tiny", "whisper"]
    assert "en" in program.models[0].languages
    assert program.supports_transcript_streaming


def test_a_command_is_transcribed(port: int, file: Path, text: str) -> None:
    answers = asked(port, Transcribe(language="en"), *spoken(file), until="transcript-stop")
    kinds = [answer.type for answer in answers]
    assert kinds == ["transcript-start", "transcript-chunk", "transcript", "transcript-stop"]
    chunks = [TranscriptChunk.from_event(answer).text for answer in answers if answer.type == "transcript-chunk"]
    assert "".join(chunks) == Transcript.from_event(answers[2]).text == text


def test_a_client_may_name_a_model_and_ask_twice(port: int, file: Path) -> None:
    twice = [Transcribe(name="whisper", language="de"), *spoken(file)] * 2

    async def ask() -> list[str]:
        texts = []
        async with AsyncTcpClient("127.0.0.1", port) as client:
            for event in twice:
                await client.write_event(event.event())
            while len(texts) < 2:
                answer = await client.read_event()
                assert answer is not None
                if Transcript.is_type(answer.type):
                    texts.append(Transcript.from_event(answer).text)
        return texts

    first, second = asyncio.run(asyncio.wait_for(ask(), 60))
    assert first == second != ""


def test_a_ping_is_answered_and_unknown_events_are_not(port: int) -> None:
    answers = asked(port, Event("synthesize", {"text": "x"}), Ping(text="a"), until="pong")
    assert [Pong.from_event(answer).text for answer in answers] == ["a"]


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([Transcribe(name="../tiny"), AudioStart(16000, 2, 1)], "there is no model"),
        ([AudioStart(1, 2, 1)], "rate"),
        ([AudioStart(16000, 3, 1), AudioChunk(16000, 3, 1, b"\0" * 300)], "width"),
        ([Event("audio-start", {"rate": "x"})], "rate"),
        ([Transcribe(name="whisper", language="xx"), AudioStart(16000, 2, 1)], "language"),
    ],
)
def test_a_mistake_is_told(port: int, events: list[Any], words: str) -> None:
    *_, answer = asked(port, *events, until="error")
    assert words in Error.from_event(answer).text


@pytest.mark.parametrize(
    "content",
    [
        b"nothing\n",
        b"[]\n",
        b'{"type": 1}\n',
        b'{"type": "audio-chunk", "payload_length": -1}\n',
        b'{"type": "audio-chunk", "payload_length": 1e99}\n',
        b'{"type": "audio-chunk", "payload_length": 999999999}\n',
        b'{"type": "transcribe", "data_length": 3}\n[1]',
        b'{"type": "transcribe", "data": [1]}\n',
        b"x" * 200_000,
    ],
)
def test_nonsense_is_answered_by_an_error(port: int, content: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(content)
        answer = b""
        try:
            while piece := sock.recv(4096):
                answer += piece
        except ConnectionResetError:
            pass  # what was sent beyond the error was not read
    assert json.loads(answer.splitlines()[0])["type"] == "error"


@pytest.mark.parametrize(("width", "subtype"), [(1, "PCM_U8"), (2, "PCM_16"), (4, "PCM_32")])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_are_those_that_libsndfile_reads(tmp_path: Path, width: int, subtype: str, channels: int) -> None:
    content = np.random.default_rng(0).integers(0, 256, 40 * width * channels, np.uint8).tobytes()
    layout = {"samplerate": 8000, "channels": channels, "format": "RAW", "subtype": subtype}
    (tmp_path / "a.raw").write_bytes(content)
    expected, _ = soundfile.read(tmp_path / "a.raw", dtype="float32", always_2d=True, **layout)
    found = AudioFormat(rate=8000, width=width, channels=channels).samples(content)
    np.testing.assert_allclose(found, expected.mean(1), atol=1e-6)
