"""`asr train --profile`: where the time and the memory of a few steps go, without a change to the weights."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, cast

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from asr.system.runtime import atomic_path, peak_memory_mb, write_text_atomic
from asr.training.task import AnyBatch, LossOutput, StepDraws, Task

FIRST_STEP, LAST_STEP = 3, 12  # of this process, counted from 1; those before warm up
OPERATIONS = 12  # of each phase that the table lists
OPERATIONS_SHOWN = 5  # of all phases together, on the screen

WAITING = "waiting for data"
OTHER = "other"  # clipping of gradients, averages, checkpoints
PHASES = {  # beginnings of the names of events -> what an event and all inside it are counted as
    WAITING: WAITING,
    "forward": "forward",
    "loss": "loss",
    "autograd::engine": "backward",
    "Optimizer.": "optimizer",
    "validation": "validation",
}


@dataclass
class Cost:
    """What an operation, or all operations of a phase, took in the steps recorded."""

    calls: int = 0
    cpu_ms: float = 0.0  # without what it called
    device_ms: float = 0.0
    allocated: int = 0  # bytes, whether or not freed later

    def add(self, event: FunctionEvent) -> None:
        """Count an event."""
        self.calls += 1
        self.cpu_ms += event.self_cpu_time_total / 1e3
        self.device_ms += event.self_device_time_total / 1e3
        self.allocated += max(0, event.self_cpu_memory_usage) + max(0, event.self_device_memory_usage)

    @property
    def ms(self) -> float:
        """By what costs are compared: time of the device where there is one."""
        return self.device_ms or self.cpu_ms


@dataclass
class Profile:
    """The steps recorded, and what they consisted of."""

    first_step: int
    num_steps: int
    seconds: float
    waited_seconds: float  # of them, for the loader
    amount: float  # learnt from
    unit: str  # of the amount
    peak_mb: float | None  # of the process so far, or of the device
    phases: dict[str, Cost] = field(default_factory=dict)
    operations: dict[tuple[str, str], Cost] = field(default_factory=dict)  # by phase and name

    def count(self, events: Iterable[FunctionEvent]) -> None:
        """Sort events into phases and operations."""
        phases: defaultdict[str, Cost] = defaultdict(Cost)
        operations: defaultdict[tuple[str, str], Cost] = defaultdict(Cost)
        for event in events:
            phase = phase_of(event)
            name = "(Python)" if event.name in PHASES else event.name
            phases[phase].add(event)
            operations[phase, name].add(event)
        self.phases, self.operations = dict(phases), dict(operations)

    def summary(self) -> Iterator[str]:
        """A few lines for the screen."""
        last = self.first_step + self.num_steps - 1
        peak = f", peak memory {self.peak_mb:.0f} MB" if self.peak_mb is not None else ""
        yield (
            f"profile of steps {self.first_step} to {last}: {self.amount / self.seconds:.0f} {self.unit}/s while "
            f"watched, {100 * self.waited_seconds / self.seconds:.1f} % waiting for data{peak}"
        )
        total = sum(cost.ms for cost in self.phases.values()) or 1.0
        yield "  " + ", ".join(f"{phase} {100 * cost.ms / total:.0f} %" for phase, cost in by_time(self.phases))
        for (phase, name), cost in by_time(self.operations)[:OPERATIONS_SHOWN]:
            yield f"  {100 * cost.ms / total:4.1f} %  {name} ({phase})"

    def table(self) -> str:
        """Everything, phase by phase, sorted by the time spent in each operation itself."""
        total = sum(cost.ms for cost in self.phases.values()) or 1.0
        lines = [
            *self.summary(),
            "",
            f"{'a step of the run':58}{'calls':>9}{'CPU ms':>10}{'device ms':>11}{'MB':>10}{'%':>7}",
        ]
        for phase, cost in by_time(self.phases):
            lines += ["", self._row(phase, cost, total)]
            inside = {name: cost for (where, name), cost in self.operations.items() if where == phase}
            lines += [self._row(f"  {name}", cost, total) for name, cost in by_time(inside)[:OPERATIONS]]
        return "\n".join(lines) + "\n"

    def _row(self, name: str, cost: Cost, total: float) -> str:
        steps = self.num_steps
        return (
            f"{name[:57]:58}{cost.calls / steps:9.1f}{cost.cpu_ms / steps:10.2f}{cost.device_ms / steps:11.2f}"
            f"{cost.allocated / steps / 1e6:10.1f}{100 * cost.ms / total:7.1f}"
        )


def new_profiler(device: torch.device) -> profile:
    """Torch's profiler, to be started, of time and memory; without the lines it would write to stderr."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
        torch.cuda.synchronize(device)  # what was begun before is not part of it
    return profile(activities=activities, profile_memory=True)


def by_time(costs: dict[Any, Cost]) -> list[tuple[Any, Cost]]:
    """The costliest first."""
    return sorted(costs.items(), key=lambda item: item[1].ms, reverse=True)


def phase_of(event: FunctionEvent) -> str:
    """The phase of the innermost enclosing event that stands for one."""
    enclosing: FunctionEvent | None = event
    while enclosing is not None:
        for beginning, phase in PHASES.items():
            if enclosing.name.startswith(beginning):
                return phase
        enclosing = enclosing.cpu_parent
    return OTHER


class _Recorder(Generic[AnyBatch]):
    """Wraps the task of a trainer: notes where steps begin, and records those from FIRST_STEP to LAST_STEP.

    The trainer needs to know nothing of it: a step is over when a batch more than its own is asked for, and what the
    trainer itself does, backward pass and optimiser, torch names by itself.
    """

    def __init__(self, task: Task[AnyBatch], accumulation: int, write: Callable[[Profile, profile], None]) -> None:
        self._task = task
        self._accumulation = accumulation
        self._write = write
        self._num_steps = 0  # finished ones
        self._num_batches = 0  # of the current step
        self._waited = self._amount = self._started = 0.0
        self._profile: profile | None = None
        self._device = next(task.model.parameters()).device

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def batches(self, epoch: int, start: int) -> Iterator[AnyBatch]:
        """As the task's; the time each takes to come is noted."""
        if self._num_batches:  # the last step of an epoch may have fewer
            self._finish_step()
        batches = iter(self._task.batches(epoch, start))
        while True:
            if self._num_batches == self._accumulation:
                self._finish_step()
            asked = time.perf_counter()
            with record_function(WAITING):
                batch = next(batches, None)
            self._waited += time.perf_counter() - asked
            if batch is None:
                return
            self._num_batches += 1
            if self._profile is not None and batch.ids:
                self._amount += self._task.amount(batch)
            yield batch

    def loss(self, batch: AnyBatch, draws: StepDraws) -> LossOutput:
        """As the task's."""
        with record_function("loss"), _forward_noted(self._task.model):
            return self._task.loss(batch, draws)

    def validate(self) -> dict[str, float]:
        """As the task's."""
        with record_function("validation"):
            return self._task.validate()

    def finish(self) -> None:
        """Write what has been recorded; nothing if the run ended before the first step to record."""
        recorder, self._profile = self._profile, None
        if recorder is None:
            return
        recorder.stop()
        if self._num_batches:  # a last step that had fewer
            self._num_steps += 1
        num_steps = self._num_steps - FIRST_STEP + 1
        if num_steps == 0:
            return
        on_device = self._device.type == "cuda"
        recorded = Profile(
            first_step=FIRST_STEP,
            num_steps=num_steps,
            seconds=time.perf_counter() - self._started,
            waited_seconds=self._waited,
            amount=self._amount,
            unit=self._task.unit.symbol,
            peak_mb=torch.cuda.max_memory_allocated(self._device) / 1e6 if on_device else peak_memory_mb(),
        )
        recorded.count(recorder.events() or ())
        self._write(recorded, recorder)

    def _finish_step(self) -> None:
        self._num_steps += 1
        self._num_batches = 0
        if self._num_steps == FIRST_STEP - 1:
            self._profile = new_profiler(self._device)
            self._profile.start()
            self._waited, self._started = 0.0, time.perf_counter()
        elif self._num_steps == LAST_STEP:
            self.finish()


@contextmanager
def profiled(
    task: Task[AnyBatch], folder: Path | None, accumulation: int, say: Callable[[str], None]
) -> Iterator[Task[AnyBatch]]:
    """A task to train in the place of `task`: a few of its steps are recorded into `folder`, and summed up by `say`.

    `trace.json.gz` is for Perfetto or chrome://tracing, `table.txt` for people. `accumulation` is the number of
    batches a step has. Nothing random is drawn: the weights are those of a run without. Without a folder, nothing is
    recorded and the task is itself.
    """
    if folder is None:
        yield task
        return

    def write(recorded: Profile, recorder: profile) -> None:
        write_text_atomic(folder / "table.txt", recorded.table())
        _write_trace(recorder, folder / "trace.json.gz")
        for line in recorded.summary():
            say(line)
        say(f"  more in {folder / 'table.txt'}, every event in {folder / 'trace.json.gz'} (open it at ui.perfetto.dev)")

    recorder = _Recorder(task, accumulation, write)
    try:
        yield cast("Task[AnyBatch]", recorder)
    finally:
        recorder.finish()
    if not (folder / "table.txt").exists():
        say(f"no profile: the run had fewer than {FIRST_STEP} steps")


def _write_trace(recorder: profile, path: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "trace.json"
        recorder.export_chrome_trace(str(plain))
        with atomic_path(path) as temporary, open(plain, "rb") as trace, gzip.open(temporary, "wb") as packed:
            shutil.copyfileobj(trace, packed)


@contextmanager
def _forward_noted(model: torch.nn.Module) -> Iterator[None]:
    """Marks what the model itself does."""
    running: list[record_function] = []

    def begin(*_: object) -> None:
        running.append(record_function("forward"))
        running[-1].__enter__()

    def end(*_: object) -> None:
        running.pop().__exit__(None, None, None)

    handles = [model.register_forward_pre_hook(begin), model.register_forward_hook(end, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
