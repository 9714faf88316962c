"""`train.jsonl` as event files for TensorBoard."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from asr.errors import TrainingError
from asr.system.runtime import written_on

FOLDER = "tensorboard"  # in the folder of train.jsonl
NOT_SCALARS = ("step", "epoch", "kind")  # of a record: its place on the axis, and its kind


def require_tensorboard() -> None:
    """TrainingError unless event files can be written."""
    if find_spec("tensorboard") is None:
        raise TrainingError("TensorBoard is not installed; pip install 'asr-toolkit[tensorboard]'")


class EventFile:
    """Every number of every record as a scalar `kind/key` over optimiser steps, in one event file.

    The folder is a copy of the log and nothing else: each start writes it anew from the `records` that the log still
    has, so that a run which was killed and resumed shows no step twice.
    """

    def __init__(self, folder: Path, records: Iterable[Mapping[str, Any]]) -> None:
        require_tensorboard()
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event = Event
        self._step = 0
        # TensorBoard reads files whose names hold "tfevents" and, of several, follows the one whose name sorts last.
        self.path = folder / f"events.out.tfevents.{time.time_ns():020d}.{os.getpid()}"
        with written_on(self.path):
            for former in folder.glob("*tfevents*"):
                former.unlink()
            self._file = open(self.path, "wb")
            self._writer = RecordWriter(self._file)
            self._writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        for record in records:
            self.write(record)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append the scalars of one record and hand them to the operating system."""
        self._step = record.get("step", self._step)  # what follows the last step belongs to it
        with written_on(self.path):
            for tag, value in _scalars(record):
                event = self._event(wall_time=time.time(), step=self._step)
                event.summary.value.add(tag=tag, simple_value=value)
                self._writer.write(event.SerializeToString())
            self._file.flush()

    def close(self) -> None:
        """Close the file; nothing can be written any more."""
        with written_on(self.path):
            self._file.close()


def _scalars(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Tags and values; lists, the ids of a skipped step for one, have no place in a curve."""
    parts = {f"losses/{name}": value for name, value in record.get("losses", {}).items()}
    for key, value in {**record, **parts}.items():
        if key not in NOT_SCALARS and isinstance(value, int | float):
            yield f"{record['kind']}/{key}", float(value)
