"""Who may talk to the server: API keys, names of the host, pages of other origins.

A browser on the same machine reaches what listens at 127.0.0.1. So that no page of somebody else can use the server
through it, names that another DNS server may have given this machine's address are refused (DNS rebinding), and so is
what another page sends.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from asr.errors import ConfigError
from asr.serve.errors import ApiError
from asr.serve.exchange import error_response
from asr.serve.state import Record
from asr.system.text_files import read_text

KEYS_VARIABLE = "ASR_API_KEYS"
KEY = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{8,200}")  # what a subprotocol of a websocket may hold
KEY_PROTOCOL = "openai-insecure-api-key."  # before a key among the subprotocols, as OpenAI's browser clients send it
OPEN_PATHS = ("/", "/health")  # the page asks for a key; it has no secrets itself
OPEN_FOLDER = "/page/"
UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Keys:
    """API keys; none: everybody may call. Only their hashes are kept, and comparing them takes the same time always."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = [_digest(key) for key in keys]

    def __len__(self) -> int:
        return len(self._digests)

    def accept(self, key: str) -> bool:
        """Whether it is one of them."""
        digest = _digest(key)
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0  # all are compared, not any


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def read_keys(path: Path | None) -> Keys:
    """The keys of a file, a line each but for empty ones and comments (#), and of the environment's ASR_API_KEYS.

    ConfigError for a key that is too short or has letters that a websocket's subprotocol cannot carry, and for a file
    without any.
    """
    keys: list[str] = []
    if path is not None:
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            if line.strip() and not line.lstrip().startswith("#"):
                keys.append(_checked(line.strip(), f"{path}:{number}"))
        if not keys:
            raise ConfigError(f"{path}: there is no API key in it; write one a line")
    for key in os.environ.get(KEYS_VARIABLE, "").replace(",", " ").split():
        keys.append(_checked(key, KEYS_VARIABLE))
    return Keys(keys)


def _checked(key: str, where: str) -> str:
    if not KEY.fullmatch(key):
        raise ConfigError(f"{where}: an API key has 8 to 200 letters, digits and signs of !#$%&'*+.^_`|~-")
    return key


@dataclass(frozen=True)
class Access:
    """Who may call."""

    keys: Keys = field(default_factory=Keys)
    hosts: Sequence[str] = ()  # names, beside localhost and addresses, that the server may be called by
    origins: Sequence[str] = ()  # of pages elsewhere that may use it, as https://example.org


class Guard:
    """ASGI middleware that turns away whoever may not call."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI wants it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except ApiError as error:
            Record.of(scope).code = error.code
            await _refuse(error, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host and not self._knows(host):
            message = f"this server is not known as '{host[:100]}'; start it with --allow-host NAME"
            raise ApiError(421, message, code="unknown_host")
        is_unsafe = scope["type"] == "websocket" or scope["method"] in UNSAFE
        origin = headers.get("origin")
        if is_unsafe and origin is not None and not self._trusts(origin, host):
            message = f"pages of '{origin[:100]}' may not use this server; start it with --allow-origin ORIGIN"
            raise ApiError(403, message, kind="permission_error", code="unknown_origin")
        if self._access.keys and not _is_open(scope) and not self._has_key(scope, headers):
            message = "an API key is needed, as 'Authorization: Bearer KEY'"
            headers_of_answer = {"WWW-Authenticate": "Bearer"}
            raise ApiError(401, message, kind="authentication_error", code="invalid_api_key", headers=headers_of_answer)

    def _knows(self, host: str) -> bool:
        name = _without_port(host)
        return name == "localhost" or _is_address(name) or name in [known.lower() for known in self._access.hosts]

    def _trusts(self, origin: str, host: str) -> bool:
        if origin in self._access.origins:
            return True
        try:
            return bool(host) and urlsplit(origin).netloc.lower() == host.lower()
        except ValueError:
            return False

    def _has_key(self, scope: Scope, headers: Headers) -> bool:
        kind, _, key = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._access.keys.accept(key.strip()):
            return True
        offered = scope.get("subprotocols", []) if scope["type"] == "websocket" else []
        told = [one.removeprefix(KEY_PROTOCOL) for one in offered if one.startswith(KEY_PROTOCOL)]
        return any(self._access.keys.accept(key) for key in told)


def _is_open(scope: Scope) -> bool:
    path = scope["path"]
    return scope["type"] == "http" and (path in OPEN_PATHS or path.startswith(OPEN_FOLDER))


def _without_port(host: str) -> str:
    name = host.lower().rpartition("]")[0] + "]" if host.startswith("[") else host.lower().partition(":")[0]
    return name.rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


async def _refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """An answer with the error, for a websocket before it is one."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
    else:
        await error_response(error)(scope, receive, send)
