"""What all benchmarks share: workers that take turns, medians, and on record what was measured where.

Two sides are compared as two processes that live through the whole run and do the same jobs in turn, so that start-up
is not counted and a busy machine slows both. Nothing here needs more than the standard library: peers import it too.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class BenchError(Exception):
    """A benchmark that cannot go on; one line for people."""


def peer_python(peers: str) -> Path:
    """The Python of a set of peers, which tools/bench installs: peers/<name>.txt."""
    return ROOT / ".bench-venv" / peers / "bin" / "python"


class Worker:
    """A process that answers jobs: a JSON object on a line of its own each way, over its stdin and stdout."""

    def __init__(self, module: str, python: Path | str = sys.executable, env: Mapping[str, str] | None = None) -> None:
        """Start `python -m module` with one thread per numeric library; `env` is added to the environment."""
        if not Path(python).exists():
            raise BenchError(f"{python} is missing: start the benchmark with tools/bench, which sets it up")
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment = {**os.environ, **limits, "PYTHONPATH": str(ROOT), **(env or {})}
        self.module = module
        self._errors = tempfile.TemporaryFile("w+")  # what libraries have to say matters only if the worker dies
        self._process = subprocess.Popen(
            [str(python), "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
        )

    def ask(self, job: str, **arguments: Any) -> Any:
        """Do a job and return its answer; BenchError if the worker died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"job": job, **arguments}) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            status = self._process.wait()
            self._errors.seek(0)
            say(self._errors.read())
            raise BenchError(f"{self.module} stopped during '{job}' with status {status}; see above")
        return json.loads(answer)

    def close(self) -> None:
        """End the process and wait for it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(jobs: Mapping[str, Callable[..., Any]]) -> None:
    """The worker's side: answer jobs until stdin ends. What a job prints goes to stderr."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        arguments = json.loads(line)
        result = jobs[arguments.pop("job")](**arguments)
        answers.write(json.dumps(result) + "\n")
        answers.flush()


class Stopwatch:
    """Seconds of the wall clock and of this process' CPU time, all threads together."""

    wall = 0.0
    cpu = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Adds the time spent inside."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu

    def to_json(self) -> dict[str, float]:
        """Both times."""
        return {"wall": self.wall, "cpu": self.cpu}


def alternate(sides: Sequence[Callable[[], Any]], rounds: int) -> list[list[Any]]:
    """Call every side once a round, in an order that turns with the round; the answers by side, then round."""
    answers: list[list[Any]] = [[] for _ in sides]
    for turn in range(rounds):
        for place in range(len(sides)):
            side = (place + turn) % len(sides)
            answers[side].append(sides[side]())
    return answers


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of python and of the installed ones among the packages."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def peak_mb() -> float:
    """Most MB that this process ever held; not those of the process that started it, as `getrusage` on Linux."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if platform.system() == "Darwin" else 1e3)
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def machine() -> dict[str, Any]:
    """The processor, how many of its cores are ours, how busy they are, and the time."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, the first to the left and the others to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = []
    for first, *others in (header, *rows):
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def say(line: str) -> None:
    """Progress, for people: stdout is for results."""
    print(line, file=sys.stderr, flush=True)


def finish(targets: Mapping[str, bool], check: bool) -> int:
    """The exit status; if `check`, a line for every target that was missed, and 1 if there is one."""
    missed = [line for line, met in targets.items() if not met]
    if not check:
        return 0
    for line in missed:
        say(f"target missed: {line}")
    return 1 if missed else 0
