"""JSON messages of clients, checked."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import ValidationError

from asr.registry import Config
from asr.serve.errors import invalid

Kind = TypeVar("Kind", bound=Config)


def parse_message(text: str | bytes) -> dict[str, Any]:
    """A JSON object with a `type`; ApiError 400 for anything else."""
    message = parse_object(text)
    if not isinstance(message.get("type"), str):
        raise invalid("the message is no JSON object with a 'type'", code="bad_message")
    return message


def parse_object(text: str | bytes | dict[str, Any]) -> dict[str, Any]:
    """A JSON object, parsed already or not; ApiError 400 for anything else."""
    try:
        message = json.loads(text) if isinstance(text, str | bytes) else text
    except (ValueError, RecursionError) as error:
        raise invalid("the message is no JSON", code="bad_message") from error
    if not isinstance(message, dict):
        raise invalid("the message is no JSON object", code="bad_message")
    return message


def checked(kind: type[Kind], message: dict[str, Any], prefix: str = "") -> Kind:
    """A message as it should be; ApiError 400 that names the key, below `prefix`."""
    try:
        return kind.model_validate(message)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"]))
        key = f"{prefix}.{key}".strip(".")[:100]
        raise invalid(f"{key}: {first['msg'][:300]}", key, "bad_message") from error
