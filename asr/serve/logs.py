"""Structured logs: one JSON object a line, never with anything that was said or sent."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import TextIO

OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "websocket"}


class JsonFormatter(logging.Formatter):
    """`time`, `level`, `event` and whatever was passed as `extra`; of an error only where it came from."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        row = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in OWN and value is not None},
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            row["error"] = type(error).__name__  # its words may quote what was sent
            row["where"] = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        return json.dumps(row, ensure_ascii=False, default=str)


def log_to(stream: TextIO, level: int = logging.INFO) -> None:
    """Have the server, and uvicorn's warnings, write to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    for name, least in (("asr.serve", level), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(least)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # its warnings quote forms
