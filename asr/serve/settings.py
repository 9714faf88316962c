"""What a server takes and how long it waits; `asr serve --set serve.KEY=VALUE`. Times are seconds."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from asr.config_errors import validate
from asr.config_overrides import with_overrides
from asr.registry import Config

MEGABYTE = 1024 * 1024


class ServeConfig(Config):
    """Limits. Beyond a limit of size callers get 413, beyond one of number 429, beyond one of time 408 or 504."""

    max_running: int = Field(32, ge=1)  # recordings that the engine works on at once; it batches across them
    max_waiting: int = Field(64, ge=0)  # recordings that may wait for a place among them
    max_streams: int = Field(32, ge=0)  # live streams at once, over all protocols
    max_upload_mb: float = Field(100.0, gt=0)  # of an uploaded file, 2**20 bytes
    max_audio_seconds: float = Field(7200.0, gt=0)  # of a file, decoded: a small file may hold much silence
    max_stream_seconds: float = Field(14400.0, gt=0)  # of audio that one stream brings
    upload_idle: float = Field(30.0, gt=0)  # without a byte of a request
    upload_time: float = Field(600.0, gt=0)  # for a whole request to arrive
    request_time: float = Field(600.0, gt=0)  # from the end of an upload to its text; clients of OpenAI wait as long
    stream_idle: float = Field(60.0, gt=0)  # without a message on a websocket
    unload_after: float = Field(600.0, ge=0)  # in which nobody used a model; the first one stays, and 0 keeps all
    shutdown_time: float = Field(30.0, ge=0)  # for what runs when the server is told to stop

    @property
    def max_upload_bytes(self) -> int:
        """See `max_upload_mb`."""
        return int(self.max_upload_mb * MEGABYTE)


DEFAULT_SERVE = ServeConfig()


def serve_config(overrides: Sequence[str] = ()) -> ServeConfig:
    """The defaults with `serve.key=value` overrides; ConfigError for what does not fit."""
    data = with_overrides({"serve": {}}, overrides)
    return validate(ServeConfig, data["serve"], "--set")
