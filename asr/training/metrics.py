"""The records of a training run: metrics and units, `train.jsonl` for programs, `curves.png` for people."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.system.runtime import atomic_path, written_on
from asr.training.tensorboard import FOLDER, EventFile

LOG_FILE = "train.jsonl"  # in `training/`
CURVES_SECONDS = 30.0  # between two pictures, which take half a second each; epochs of small corpora do not


@dataclass(frozen=True)
class Metric:
    """A measure of the dev set that is better when lower, and how people read it."""

    key: str  # in `Task.validate` and train.jsonl
    name: str
    scale: float = 1.0  # shown value / stored value
    unit: str = ""
    of: str = "dev"  # the set

    def show(self, value: float, width: int = 0) -> str:
        """`dev WER 3.21 %`"""
        return f"{self.of} {self.name} {self.scale * value:{width}.2f}{self.unit}"

    def worse(self, start: Mapping[str, float] | None, end: Mapping[str, float]) -> str | None:
        """A line where weights were worth more before the first step than they are at the end."""
        if start is None or end[self.key] <= start[self.key]:
            return None
        return (
            f"training made it worse: {self.show(start[self.key])} before the first step, "
            f"{self.scale * end[self.key]:.2f}{self.unit} now; try a lower optimizer.lr, fewer epochs, or freeze parts"
        )


WER = Metric("wer", "WER", 100.0, " %")
CANARY_WER = Metric("canary_wer", "WER", 100.0, " %", of="canary")
PERPLEXITY = Metric("perplexity", "perplexity")


@dataclass(frozen=True)
class Unit:
    """What a task's throughput is counted in."""

    key: str  # in train.jsonl, with `_per_second` behind it
    symbol: str


AUDIO_SECONDS = Unit("audio_seconds", "audio-s")
TOKENS = Unit("tokens", "tokens")


class TrainLog:
    """Append-only JSON lines that can be cut back to where a checkpoint stood.

    Where its folder has a folder `tensorboard`, the same is written there as event files.
    """

    def __init__(self, path: Path, keep_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._drawn = time.monotonic()
        self._file = open(path, "ab")
        self._file.truncate(keep_bytes)  # lines after the checkpoint will be written again
        folder = path.with_name(FOLDER)
        self._events = EventFile(folder, read_log(path)) if folder.is_dir() else None

    def write(self, record: dict[str, Any]) -> None:
        """Append one line and hand it to the operating system."""
        with written_on(self.path):
            self._file.write(json.dumps(record).encode() + b"\n")
            self._file.flush()
        if self._events is not None:
            self._events.write(record)

    def sync(self) -> int:
        """Make the lines safe against a crash; returns the length of the file in bytes."""
        with written_on(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
        return self._file.tell()

    def draw(self, metric: Metric, item: str, *, at_once: bool = False) -> None:
        """Draw `curves.png` beside the log; unless `at_once`, only where the last time is CURVES_SECONDS ago."""
        if at_once or time.monotonic() - self._drawn > CURVES_SECONDS:
            draw_curves(self.path, self.path.with_name("curves.png"), metric, item)
            self._drawn = time.monotonic()

    def close(self) -> None:
        """Close the files; nothing can be written any more."""
        if self._events is not None:
            self._events.close()
        with suppress(OSError):  # a full disk has been reported
            self._file.close()


def by_part(parts: dict[str, float | None]) -> dict[str, dict[str, float | None]]:
    """The parts of a loss as they are logged: under one key, which a task whose loss has none goes without."""
    return {"losses": parts} if parts else {}


def finite(value: float) -> float | None:
    """None for what is not finite, which JSON cannot express."""
    return value if math.isfinite(value) else None


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a `train.jsonl`; a last line that is only half written yet is left out."""
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.endswith("\n")]


def is_finished(log: Path) -> bool:
    """Whether the run of a `train.jsonl` reached its end, where its epochs are averaged."""
    records = read_log(log)
    return bool(records) and records[-1]["kind"] == "average"


def draw_curves(log: Path, picture: Path, metric: Metric, item: str) -> bool:
    """Draw the panels of `curves` side by side; False where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    epochs = [record for record in read_log(log) if record["kind"] == "epoch"]
    if not epochs:
        return True
    panels = curves(epochs, metric, item)
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, lines) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for label, points in lines.items():
            axes.plot(*zip(*points, strict=True), marker="." if len(points) < 40 else "", label=label)
        if len(lines) > 1:
            axes.legend()
        axes.set(title=title, xlabel="epoch")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return True


Points = list[tuple[int, float]]  # epoch and value


def curves(epochs: Sequence[Mapping[str, Any]], metric: Metric, item: str) -> dict[str, dict[str, Points]]:
    """Title -> label -> points of what a run's epochs have on record: loss and its parts, dev metric, learning rate."""
    heads = dict.fromkeys(name for record in epochs for name in record.get("losses", {}))
    parts = {name: [(record["epoch"], record.get("losses", {}).get(name)) for record in epochs] for name in heads}
    panels = {
        f"training loss per {item}": {"total": [(record["epoch"], record["loss"]) for record in epochs]}
        | (parts if len(parts) > 1 else {}),
        f"dev {metric.name}{metric.unit and f' ({metric.unit.strip()})'}": {
            metric.name: [(row["epoch"], metric.scale * row[metric.key]) for row in epochs if metric.key in row]
        },
        "learning rate": {"lr": [(record["epoch"], record["lr"]) for record in epochs]},
    }
    return {
        title: {label: [point for point in points if point[1] is not None] for label, points in lines.items()}
        for title, lines in panels.items()
    }
