"""Start-up time and memory of training on a simulated manifest of any size; no audio is made."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from tools.benchmarks.common import BenchError, Worker, machine, say, table

MEAN_SECONDS = 12.0  # of an utterance, as in audio books cut for training
WORDS_PER_SECOND = 2.5
SHORTEST, LONGEST = 1.0, 35.0  # seconds
ROW_BYTES = 280  # about, with its text
BLOCK = 100_000  # rows made at once
PART = 100  # the former way is measured on one row in so many
MAX_BATCH_SECONDS = 300.0
WORKER = "tools.benchmarks.manifest_worker"
SURVEYED_ROWS = 150_000  # of a larger corpus no more rows are looked at


def main() -> int:
    """Measure and print what came out."""
    parser = argparse.ArgumentParser(prog="tools/bench manifest", description=__doc__)
    parser.add_argument("--hours", type=float, default=1000.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to write the manifest for a while; a temporary folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="asr-manifest-", dir=arguments.folder) as folder:
            report = measure(Path(folder), arguments.hours, arguments.seed)
    except BenchError as error:
        say(f"error: {error}")
        return 1
    print(json.dumps(report, indent=2) if arguments.json else describe(report))
    return 0


def measure(folder: Path, hours: float, seed: int) -> dict[str, Any]:
    """Everything that is measured, as JSON; every start is a process of its own."""
    num_rows = round(hours * 3600 / MEAN_SECONDS)
    if (free := shutil.disk_usage(folder).free) < 1.3 * num_rows * ROW_BYTES:
        raise BenchError(f"{folder}: {free / 1e9:.0f} GB are free, {1.3 * num_rows * ROW_BYTES / 1e9:.0f} are needed")
    whole, part = folder / "train.jsonl", folder / "part.jsonl"
    say(f"writing {num_rows} rows ...")
    write_rows(whole, num_rows, seed)
    write_rows(part, num_rows // PART, seed)
    report: dict[str, Any] = {"benchmark": "manifest", "hours": hours, "seed": seed, "rows": num_rows}
    report["gigabytes"] = whole.stat().st_size / 1e9
    with Worker(WORKER) as rank:
        report["before"] = rank.ask("memory")
        say("first start ...")
        report["first_start"] = rank.ask("open", path=str(whole))
    with ExitStack() as stack:
        ranks = [stack.enter_context(Worker(WORKER)) for _ in range(2)]
        say("second start, an epoch of batches ...")
        report["second_start"] = ranks[0].ask("open", path=str(whole))
        report["first_batch"] = ranks[0].ask("first_batch", max_batch_seconds=MAX_BATCH_SECONDS)
        report["epoch"] = ranks[0].ask("epoch")
        report["random_rows"] = ranks[0].ask("random_rows")
        say("a second rank beside it ...")
        ranks[1].ask("open", path=str(whole))
        ranks[1].ask("first_batch", max_batch_seconds=MAX_BATCH_SECONDS)
        report["two_ranks"] = [rank.ask("memory") for rank in ranks]
    with Worker(WORKER) as rank:
        say("every row looked at ...")
        write_rows(part, min(num_rows, SURVEYED_ROWS), seed)
        report["survey"] = {"rows": rank.ask("open", path=str(part))["rows"], **rank.ask("survey")}
    with Worker(WORKER) as rank:
        say("rows as objects ...")
        write_rows(part, num_rows // PART, seed)
        report["objects"] = rank.ask("objects", path=str(part))
    report["machine"] = machine()
    return report


def write_rows(path: Path, num_rows: int, seed: int) -> None:
    """A manifest of so many rows with an id, a path, a text and a speaker each."""
    letters = random.Random(seed)
    vocabulary = ["".join(letters.choices("etaoinshrdlu", k=letters.randint(2, 8))) for _ in range(10_000)]
    words = letters.choices(vocabulary, k=1_000_000)  # every text is a stretch of these
    starts = [0, *accumulate(len(word) + 1 for word in words)]
    speech = " ".join(words)
    rng = np.random.default_rng(seed)
    with open(path, "w", encoding="utf-8") as file:
        for first in range(0, num_rows, BLOCK):
            file.writelines(_rows(first, min(BLOCK, num_rows - first), rng, speech, starts))


def _rows(first: int, count: int, rng: np.random.Generator, speech: str, starts: list[int]) -> Iterator[str]:
    seconds = np.clip(rng.gamma(4.0, MEAN_SECONDS / 4.0, count), SHORTEST, LONGEST)
    lens = np.maximum(1, (seconds * WORDS_PER_SECOND).astype(np.int64))
    begins = rng.integers(0, len(starts) - 1 - lens)
    rows = zip(range(first, first + count), seconds.tolist(), begins.tolist(), lens.tolist(), strict=True)
    for number, duration, begin, num_words in rows:
        text = speech[starts[begin] : starts[begin + num_words] - 1]
        speaker = f"s{number // 1000:05}"
        yield (
            f'{{"id": "{speaker}-{number:08}", "audio": "audio/{speaker}/{number:08}.flac", '
            f'"duration": {duration:.3f}, "text": "{text}", "speaker": "{speaker}"}}\n'
        )


def describe(report: dict[str, Any]) -> str:
    """The report for people."""
    rows = [
        _line("first start: check every line, make the index", report["first_start"]),
        _line("second start: map the index", report["second_start"]),
        _line("first batch of an epoch, with its rows", report["first_batch"]),
    ]
    for job, title in (("count", "count"), ("all", "form"), ("middle", "find the middle of")):
        seconds = report["epoch"]["seconds"][job]
        rows.append(
            (f"{title} {report['epoch']['batches']} batches", f"{seconds['wall']:.2f}", f"{seconds['cpu']:.2f}")
        )
    rows.append(("at the end of the epoch", "", "", *_megabytes(report["epoch"]["memory"])))
    for number, memory in enumerate(report["two_ranks"], start=1):
        rows.append((f"two ranks at a time: rank {number}", "", "", *_megabytes(memory)))
    rows.append(("before: libraries alone", "", "", *_megabytes(report["before"])))
    header = ("", "seconds", "CPU", "MB", "own", "shared out", "peak")
    padded = [(*row, *[""] * (len(header) - len(row))) for row in rows]
    machine, start, random_rows = report["machine"], report["first_start"], report["random_rows"]
    survey, objects = report["survey"], report["objects"]
    times = report["rows"] / objects["rows"]
    cpu, megabytes = objects["seconds"]["cpu"], objects["megabytes"]
    return "\n".join(
        [
            f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']}, {machine['date']}",
            f"{report['hours']:g} h, {report['rows']} rows, {report['gigabytes']:.2f} GB, seed {report['seed']}",
            table(header, padded),
            f"processes that help at the first start: {start['memory']['peak_of_helpers']:.0f} MB each",
            f"a row from anywhere: {1e6 * random_rows['seconds']['cpu'] / random_rows['rows']:.0f} us CPU",
            f"look at {survey['rows']} rows: {survey['first']['wall']:.1f} s, {_cpu(survey['first']):.1f} s CPU; again "
            f"{1000 * survey['again']['wall']:.0f} ms",
            f"as objects, {objects['rows']} rows: {cpu:.2f} s CPU, {megabytes:.0f} MB; all would be "
            f"{times * cpu:.0f} s, {times * megabytes / 1e3:.1f} GB a rank",
        ]
    )


def _line(title: str, part: dict[str, Any]) -> tuple[str, ...]:
    return (title, f"{part['seconds']['wall']:.2f}", f"{_cpu(part['seconds']):.2f}", *_megabytes(part["memory"]))


def _cpu(seconds: dict[str, float]) -> float:
    return seconds["cpu"] + seconds.get("helpers", 0.0)


def _megabytes(memory: dict[str, float]) -> tuple[str, ...]:
    return tuple(f"{memory[name]:.0f}" for name in ("resident", "own", "proportional", "peak"))


if __name__ == "__main__":
    sys.exit(main())
