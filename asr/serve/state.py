"""What all parts of a running server share."""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr.serve.errors import ApiError, internal
from asr.serve.limits import Admission
from asr.serve.metrics import Metrics
from asr.serve.models import ModelPool
from asr.serve.settings import DEFAULT_SERVE, ServeConfig
from asr.transcribe.streaming.settings import DEFAULT_STREAMING, StreamingConfig

LOG = logging.getLogger("asr.serve")


@dataclass
class Record:
    """What the log and the metrics say of a request; never what was said in it."""

    model: str | None = None
    audio_seconds: float | None = None
    is_gone: bool = False  # the caller left
    code: str | None = None  # of the error that a websocket ended with

    @classmethod
    def of(cls, scope: MutableMapping[str, Any]) -> Record:
        """That of an ASGI scope."""
        record = scope.setdefault("asr.record", cls())
        assert isinstance(record, cls)
        return record


@dataclass
class ServerState:
    """Made inside the event loop, once for each server."""

    pool: ModelPool
    folder: Path  # private; uploads are kept there until they are read
    config: ServeConfig = DEFAULT_SERVE
    streaming: StreamingConfig = DEFAULT_STREAMING
    files: Admission = field(init=False)
    streams: Admission = field(init=False)
    is_open: bool = True
    metrics: Metrics = field(default_factory=Metrics)
    endings: set[Callable[[], None]] = field(default_factory=set)  # call these, and streams end with what they have

    def __post_init__(self) -> None:
        self.files = Admission("requests", self.config.max_running, self.config.max_waiting)
        self.streams = Admission("streams", self.config.max_streams, 0)
        self.metrics.watch(self.pool, self.files, self.streams)

    def close_doors(self) -> None:
        """Take nothing new."""
        self.files.close()
        self.streams.close()
        self.is_open = False
        for end in list(self.endings):
            end()

    @property
    def num_guests(self) -> int:
        """Requests and streams that have not ended."""
        return self.files.num_all + self.streams.num_all

    def report(self, error: BaseException) -> ApiError:
        """Log a fault of ours; what the caller is told."""
        LOG.error("internal error", exc_info=error)
        return internal()
