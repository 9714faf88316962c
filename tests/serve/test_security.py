"""Who may call: keys, names of the host, pages of other origins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from asr.errors import ConfigError
from asr.serve.security import Access, Keys, read_keys
from tests.serve.servers import loader, running

KEY, OTHER_KEY = "very-secret-key", "another~key.2"
PAGE = "https://example.org"


@pytest.fixture(scope="module")
def guarded(model: Path) -> Iterator[str]:
    access = Access(Keys([KEY, OTHER_KEY]), ("asr.example.org",), (PAGE,))
    with running({"tiny": loader(model)}, access) as address:
        yield address


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/docs", "/openapi.json", "/v1/models/tiny", "/nothing"])
def test_everything_but_health_needs_a_key(guarded: str, path: str) -> None:
    for headers in ({}, bearer("wrong"), bearer(KEY[:-1]), {"authorization": KEY}):
        reply = httpx.get(guarded + path, headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
        assert reply.headers["www-authenticate"] == "Bearer"
    assert httpx.get(guarded + path, headers=bearer(KEY)).status_code in (200, 404)
    assert httpx.get(guarded + path, headers=bearer(OTHER_KEY)).status_code in (200, 404)
    assert httpx.get(guarded + "/health").status_code == 200


def test_an_upload_without_a_key_is_not_read(guarded: str) -> None:
    reply = httpx.post(f"{guarded}/v1/audio/transcriptions", files={"file": b"x" * 1_000_000})
    assert reply.status_code == 401


@pytest.mark.parametrize("headers", [{}, bearer("wrong-key")])
def test_a_websocket_without_a_key_is_refused(guarded: str, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{guarded.replace('http', 'ws')}/v1/stream", additional_headers=headers, proxy=None)
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["error"]["code"] == "invalid_api_key"


def test_a_websocket_may_bring_its_key_as_a_subprotocol(guarded: str) -> None:
    protocols = ["asr", f"openai-insecure-api-key.{KEY}"]
    with connect(f"{guarded.replace('http', 'ws')}/v1/stream", subprotocols=protocols, proxy=None) as socket:  # type: ignore[arg-type]
        assert socket.subprotocol == "asr"  # never the key
        socket.send('{"type": "start"}')
        assert json.loads(socket.recv())["type"] == "ready"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:8000", 200),
        ("192.168.1.7", 200),
        ("asr.example.org", 200),
        ("ASR.example.org:443", 200),
        ("asr.example.org.", 200),
        ("attacker.example", 421),
        ("localhost.attacker.example", 421),
        ("127.0.0.1.attacker.example", 421),
        ("[", 421),
        ("a@localhost", 421),
    ],
)
def test_a_name_that_nobody_gave_the_server_is_refused(guarded: str, host: str, status: int) -> None:
    assert httpx.get(f"{guarded}/health", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "is_trusted"),
    [(PAGE, True), ("https://attacker.example", False), ("null", False), ("http://[", False), (None, True)],
)
def test_pages_of_others_may_neither_send_nor_listen(guarded: str, origin: str | None, is_trusted: bool) -> None:
    headers = bearer(KEY) | ({} if origin is None else {"origin": origin})
    reply = httpx.post(f"{guarded}/v1/audio/transcriptions", headers=headers)
    assert reply.status_code == (400 if is_trusted else 403)
    try:
        with connect(f"{guarded.replace('http', 'ws')}/v1/stream", additional_headers=headers, proxy=None):
            was_let_in = True
    except InvalidStatus as refused:
        was_let_in = refused.response.status_code != 403
    assert was_let_in == is_trusted


def test_the_servers_own_page_may(server: str) -> None:
    headers = {"origin": server}
    assert httpx.post(f"{server}/v1/audio/transcriptions", headers=headers).status_code == 400
    with connect(f"{server.replace('http', 'ws')}/v1/stream", additional_headers=headers, proxy=None) as socket:
        socket.send('{"type": "start"}')
        assert json.loads(socket.recv())["type"] == "ready"


def test_other_pages_read_answers_only_if_they_are_allowed(guarded: str, server: str) -> None:
    asked = {"origin": PAGE, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    assert httpx.options(f"{guarded}/v1/models", headers=asked).headers["access-control-allow-origin"] == PAGE
    assert "access-control-allow-origin" not in httpx.get(f"{server}/v1/models", headers={"origin": PAGE}).headers
    other = asked | {"origin": "https://attacker.example"}
    assert "access-control-allow-origin" not in httpx.options(f"{guarded}/v1/models", headers=other).headers


def test_keys_come_from_a_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# for the kitchen\n\n{KEY}\n  {OTHER_KEY}  \n", encoding="utf-8")
    monkeypatch.setenv("ASR_API_KEYS", "third-key-0, fourth-key")
    keys = read_keys(path)
    assert len(keys) == 4
    assert all(keys.accept(key) for key in (KEY, OTHER_KEY, "third-key-0", "fourth-key"))
    assert not any(keys.accept(key) for key in ("", "# for the kitchen", KEY.upper()))
    assert KEY not in repr(vars(keys))


@pytest.mark.parametrize("content", ["short\n", "with a space\n", "äöüäöüäöü\n", "# nothing\n", ""])
def test_a_key_that_cannot_be_used_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=str(path)):
        read_keys(path)
