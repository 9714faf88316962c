"""Errors as OpenAI's API words them: a status and {"error": {message, type, param, code}}."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Any

from asr.errors import AsrError, AudioError, ConfigError

INVALID = "invalid_request_error"


class ApiError(Exception):
    """What a caller did wrong, or cannot have now."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = headers or {}

    def to_json(self) -> dict[str, Any]:
        """The body of the answer, or a part of an event."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


class TooLongError(AudioError):
    """More audio than the server takes."""


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that cannot be understood or followed."""
    return ApiError(400, message, param=param, code=code)


def too_large(message: str, param: str | None = "file", code: str = "file_too_large") -> ApiError:
    """More than the server takes."""
    return ApiError(413, message, param=param, code=code)


def busy(message: str, retry_after: int) -> ApiError:
    """No room; the caller may come again after so many seconds."""
    headers = {"Retry-After": str(retry_after)}
    return ApiError(429, message, kind="rate_limit_error", code="rate_limit_exceeded", headers=headers)


def stopping() -> ApiError:
    """The server ends and takes nothing new."""
    return ApiError(503, "the server is shutting down", kind="server_error", code="shutting_down")


def internal() -> ApiError:
    """A fault of ours; the log says more."""
    return ApiError(500, "the server made a mistake, and its log says which", kind="server_error", code="internal")


def as_api_error(error: Exception) -> ApiError | None:
    """What a caller is told of an error; None for one that is the server's fault."""
    match error:
        case ApiError():
            return error
        case TooLongError():
            return too_large(str(error), code="audio_too_long")
        case AudioError():
            return invalid(str(error), "file", "invalid_audio")
        case ConfigError():
            return invalid(str(error))
        case CancelledError() | RuntimeError() if "engine" in str(error) or isinstance(error, CancelledError):
            return stopping()
        case AsrError():
            return invalid(str(error))
    return None
