"""Requests that nobody in his right mind sends, drawn from a generator of random numbers."""

from __future__ import annotations

import io
import json
import random
import socket
from collections.abc import Sequence

import numpy as np
import soundfile

from asr.serve.stream import Start

BOUNDARY = "cut-here"
ENDS = f"--{BOUNDARY}--\r\n".encode()
FORM = f"multipart/form-data; boundary={BOUNDARY}"
VALUES = (
    "",
    "json",
    "verbose_json",
    "nan",
    "-1",
    "true",
    "whisper-1",
    "tiny",
    "../../etc/passwd",
    "\ud7ff\0",
    "a" * 3000,
)
FIELDS = (
    *("model", "language", "prompt", "response_format", "temperature", "stream", "timestamp_granularities[]"),
    *("include[]", "keywords[]", "hotwords", "chunking_strategy", "file", "x", ""),
)
AUDIO = (("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("AU", "ULAW"), ("W64", "PCM_24"))
PATHS = ("/v1/audio/translations", "/v1/models/%00", "/v1/stream", "//", "/%")
KINDS = ("multipart/form-data", "application/json", "\x01", "multipart/form-data; boundary=" + "b" * 300)
HEADERS = (
    *("X: " + "x" * 100_000, "Transfer-Encoding: chunked", "Expect: 100-continue", "Host: other", ": x"),
    "Connection: Upgrade\r\nUpgrade: websocket",
)
MESSAGES = (
    '{"type": "start"}',
    '{"type": "start", "sample_rate": 8000, "encoding": "f32le"}',
    '{"type": "start", "prompt": "x"}',
    '{"type": "finish"}',
    '{"type": "session.update", "session": {"type": "transcription", "audio": {"input": {"turn_detection": null}}}}',
    '{"type": "session.update", "session": {"audio": []}}',
    '{"type": "input_audio_buffer.append", "audio": "AAAA"}',
    '{"type": "input_audio_buffer.append", "audio": {}}',
    '{"type": "input_audio_buffer.commit"}',
    '{"type": "input_audio_buffer.clear"}',
    '{"type": []}',
    "[" * 3000,
    "\udcff".encode("utf-8", "surrogatepass").decode("latin-1"),
    "null",
    "",
)


def recording(rng: random.Random) -> bytes:
    """A short file of some format, whole or damaged."""
    kind, subtype = rng.choice(AUDIO)
    channels = rng.choice((1, 1, 2, 7))
    rate = rng.choice((8000, 16000, 44100, 1, 192000))
    samples = np.random.default_rng(rng.getrandbits(32)).uniform(-1, 1, (rng.choice((0, 1, 400, 4000)), channels))
    if subtype == "FLOAT" and len(samples):
        samples[0] = rng.choice((np.nan, np.inf, 1e30, 0.0))
    file = io.BytesIO()
    try:
        soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    except (soundfile.LibsndfileError, ValueError):  # not every format takes every rate and number of channels
        file = io.BytesIO(b"RIFF")
    return damaged(file.getvalue(), rng)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The same, cut or with bytes changed, or left as it is."""
    what = rng.randrange(4)
    if what == 0 or not content:
        return content
    if what == 1:
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(rng.choice((1, 3, 30))):
        changed[rng.randrange(min(len(changed), rng.choice((50, 10**9))))] = rng.randrange(256)
    return bytes(changed)


def form(rng: random.Random) -> bytes:
    """A multipart form, whole or not."""
    parts = [_part(rng.choice(FIELDS), rng.choice(VALUES)) for _ in range(rng.choice((0, 1, 2)))]
    if rng.random() < 0.01:
        parts *= 300
    if rng.random() < 0.9:
        parts.append(_part(f'file"; filename="{rng.choice(VALUES)[:50]}', recording(rng)))
    rng.shuffle(parts)
    body = b"".join(parts) + ENDS
    return damaged(body, rng) if rng.random() < 0.4 else body


def _part(name: str, value: str | bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
    content = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return head.encode("utf-8", "surrogatepass") + content + b"\r\n"


def http_request(rng: random.Random) -> bytes:
    """All bytes of a request."""
    body = form(rng)
    method = _mostly(rng, "POST", ("GET", "PUT", "BREW"))
    path = _mostly(rng, "/v1/audio/transcriptions", PATHS)
    length = _mostly(rng, str(len(body)), (str(len(body) + 10), str(max(0, len(body) - 10)), "-1", str(10**30)))
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Type: {_mostly(rng, FORM, KINDS)}"]
    lines.append(f"Content-Length: {length}")
    if rng.random() < 0.05:
        lines.append(rng.choice(HEADERS))
    request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    return damaged(request, rng) if rng.random() < 0.1 else request


def _mostly(rng: random.Random, usual: str, others: Sequence[str]) -> str:
    return usual if rng.random() < 0.9 else rng.choice(others)


def messages(rng: random.Random) -> list[str | bytes]:
    """What a client of a websocket sends, in no order that makes sense."""
    sent: list[str | bytes] = []
    for _ in range(rng.randrange(1, 8)):
        if rng.random() < 0.4:
            sent.append(rng.randbytes(rng.choice((0, 1, 3, 2000))))
        elif rng.random() < 0.1:
            key, value = rng.choice(tuple(Start.model_fields)), rng.choice((0, "", None, [], {}, "x" * 500))
            sent.append(json.dumps({"type": "start", key: value}))
        else:
            sent.append(rng.choice(MESSAGES))
    return sent


def status_of(address: str, request: bytes, *, is_patient: bool = True) -> int | None:
    """Send a request and give the status of the answer; None where the server hung up without one.

    An impatient client leaves at once.
    """
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        answer = b""
        try:
            sock.sendall(request)
            if not is_patient:
                return None
            while (b"\r\n" not in answer or answer.startswith(b"HTTP/1.1 100 ")) and (piece := sock.recv(4096)):
                answer = (answer + piece).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # it answered, or hung up, before it had read all
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else None
