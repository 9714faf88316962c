"""/v1/realtime with OpenAI's own client: every event it sends and gets has the shape that the client knows."""

from __future__ import annotations

import base64
import functools
import io
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from openai import OpenAI
from openai.resources.realtime.realtime import RealtimeConnection
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.exceptions import ConnectionClosed

from asr import Recognizer
from asr.audio.io import load_audio
from asr.serve.realtime_session import Session
from asr.serve.samples import Samples
from tests.serve.servers import running

RATE = 24000
SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


@contextmanager
def talking(server: str) -> Iterator[RealtimeConnection]:
    """A connection whose session was created."""
    client = OpenAI(base_url=f"{server}/v1", api_key="none-at-all")
    with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        assert take(connection).type == "session.created"
        yield connection


def take(connection: RealtimeConnection) -> Any:
    """The next event, checked against the client's own description of all there are."""
    event = connection.recv()
    SERVER_EVENT.validate_python(event.model_dump())
    return event


def base64_of(waveform: np.ndarray) -> str:
    return base64.b64encode((waveform * 32767).astype("<i2").tobytes()).decode()


def append(connection: RealtimeConnection, waveform: np.ndarray, step: int = 4800) -> None:
    for first in range(0, len(waveform), step):
        connection.input_audio_buffer.append(audio=base64_of(waveform[first : first + step]))


def until(connection: RealtimeConnection, kind: str) -> list[Any]:
    events = [take(connection)]
    while events[-1].type != kind:
        events.append(take(connection))
    return events


def session(**heard: Any) -> Any:
    return {"type": "transcription", "audio": {"input": heard}}


COMPLETED = "conversation.item.input_audio_transcription.completed"


def test_what_is_committed_is_transcribed(server: str, recognizer: Recognizer, file: Path) -> None:
    waveform = load_audio(file, RATE)
    stream = recognizer.open_stream(RATE)
    stream.push((waveform * 32767).astype("<i2").astype(np.float32) / 32768)
    stream.finish()
    with talking(server) as connection:
        connection.session.update(session=session(turn_detection=None, transcription={"model": "whisper-1"}))
        updated = take(connection)
        assert updated.type == "session.updated"
        assert updated.session.audio.input.format.rate == RATE
        assert updated.session.audio.input.turn_detection is None
        previous = None
        text = stream.result().text
        for _ in range(2):
            append(connection, waveform)
            connection.input_audio_buffer.commit()
            events = until(connection, COMPLETED)
            assert events[-1].transcript == text != ""
            deltas = [event.delta for event in events if event.type.endswith(".delta")]
            assert text.startswith("".join(deltas))
            assert deltas
            (committed,) = [event for event in events if event.type == "input_audio_buffer.committed"]
            assert committed.previous_item_id == previous
            assert {event.item_id for event in events} == {committed.item_id}
            assert events[-1].usage.seconds == 3
            previous = committed.item_id


def test_utterances_end_by_themselves(corpora: Path) -> None:
    """Real speech, which a detector hears, and a model that makes digits of it."""
    folder = Path(__file__).parents[2] / "recipes" / "digits" / "model"
    spoken = load_audio(corpora / "ljspeech_tail" / "wavs" / "LJ002-0001.opus", RATE)[: 3 * RATE]
    pause = np.zeros(round(1.5 * RATE), np.float32)
    with running({"digits": functools.partial(Recognizer.load, folder, "cpu")}) as server, talking(server) as talk:
        append(talk, np.concatenate([pause, spoken, pause]))
        events = until(talk, COMPLETED)
    kinds = [event.type.rpartition(".")[2] for event in events if not event.type.endswith(".delta")]
    assert kinds == ["speech_started", "speech_stopped", "committed", "completed"]
    assert len({event.item_id for event in events}) == 1
    started = events[0].audio_start_ms
    (stopped,) = [event.audio_end_ms for event in events if event.type.endswith(".speech_stopped")]
    assert 900 <= started <= 1600
    assert 4000 <= stopped <= 4700
    assert events[-1].transcript
    assert events[-1].usage.seconds == math.ceil((stopped - started) / 1000)


def test_what_is_cleared_is_forgotten(server: str, file: Path) -> None:
    with talking(server) as connection:
        connection.session.update(session=session(turn_detection=None))
        append(connection, load_audio(file, RATE))
        connection.input_audio_buffer.clear()
        until(connection, "input_audio_buffer.cleared")
        connection.input_audio_buffer.commit()
        assert take(connection).error.code == "input_audio_buffer_commit_empty"


@pytest.mark.parametrize(
    ("event", "param"),
    [
        ({"type": "response.create"}, "type"),
        ({"type": "input_audio_buffer.append", "audio": "!"}, "audio"),
        ({"type": "input_audio_buffer.append"}, "audio"),
        ({"type": "session.update"}, "session"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type"),
        ({"type": "session.update", "session": {"type": "transcription", "audio": 1}}, "session.audio"),
        (
            {"type": "session.update", "session": session(format={"type": "audio/pcm", "rate": 16000})},
            "session.audio.input.format.rate",
        ),
        ({"type": "session.update", "session": session(transcription={"model": "x"})}, "model"),
        (
            {"type": "session.update", "session": session(turn_detection={"type": "semantic_vad"})},
            "session.audio.input.turn_detection.type",
        ),
        ({"type": "session.update", "session": session(transcription={"keywords": ["a:b"]})}, "keywords"),
    ],
)
def test_a_wrong_event_is_told_and_the_session_goes_on(server: str, event: dict[str, Any], param: str) -> None:
    with talking(server) as connection:
        connection.send_raw(json.dumps({**event, "event_id": "mine"}))
        told = take(connection)
        assert told.type == "error"
        assert (told.error.param, told.error.event_id) == (param, "mine")
        connection.session.update(session=session())
        assert take(connection).type == "session.updated"


def test_messages_that_are_no_events_are_told_until_there_are_too_many(server: str) -> None:
    with talking(server) as connection:
        for _ in range(100):
            connection.send_raw("nothing")
            assert take(connection).error.message == "the message is no JSON"
        connection.send_raw("nothing")
        take(connection)
        with pytest.raises(ConnectionClosed, match="1008"):
            take(connection)


def test_settings_change_key_by_key() -> None:
    first = Session().updated(session(transcription={"language": "de"}, turn_detection={"type": "server_vad"}))
    second = first.updated(session(turn_detection={"type": "server_vad", "silence_duration_ms": 200, "threshold": 0.4}))
    assert second.options().language == "de"
    assert second.turns is not None
    assert (second.turns.silence_after_text, second.turns.onset, second.turns.pre_roll) == (0.2, 0.4, None)
    third = second.updated(session(turn_detection=None, noise_reduction={"type": "near_field"}))
    assert third.turns is None
    assert third.to_json("sess_1", "tiny")["audio"]["input"]["noise_reduction"] is None
    assert third.updated(session(format={"type": "audio/pcmu"})).encoding == "mulaw"


@pytest.mark.parametrize(("encoding", "subtype"), [("mulaw", "ULAW"), ("alaw", "ALAW"), ("s16le", "PCM_16")])
def test_samples_are_those_that_libsndfile_reads(encoding: str, subtype: str) -> None:
    width = 2 if encoding == "s16le" else 1
    content = bytes(range(256)) * width
    layout = {"samplerate": 8000, "channels": 1, "format": "RAW", "subtype": subtype, "endian": "LITTLE"}
    expected, _ = soundfile.read(io.BytesIO(content), dtype="float32", **layout)
    reader = Samples(encoding)
    pieces = [reader.take(content[first : first + 7]) for first in range(0, len(content), 7)]
    np.testing.assert_array_equal(np.concatenate(pieces), expected)
