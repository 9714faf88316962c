"""Conformers of one size, ours and the peers', timed in turn: what tools/bench train and encoder share.

A peer is built as its own recipes do: torchaudio's stacks four frames in place of convolutions (conformer_rnnt_base),
SpeechBrain's has its convolutional front end and relative positions (recipes/LibriSpeech/ASR). All have CTC on top and
fused AdamW. Ours runs as `asr train` does (asr/libraries.py).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any
from unittest.mock import patch

from asr.system.libraries import settle_libraries
from tools.benchmarks.common import BenchError, Worker, alternate, finish, machine, peer_python, say, table

PEERS = "training"
SIDES = ("asr", "torchaudio", "speechbrain")
DTYPES = ("float32", "bfloat16")
MODULE = "tools.benchmarks.conformer_worker"


@dataclass(frozen=True)
class Settings:
    """What is timed: batches of `utterances` of `seconds`, all equally long."""

    rounds: int = 5
    threads: int = 2
    utterances: int = 8
    seconds: float = 10.0
    seed: int = 1


@dataclass(frozen=True)
class Side:
    """One toolkit in one precision."""

    toolkit: str
    dtype: str

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"{self.toolkit} {self.dtype}"


def run(name: str, description: str | None, job: str, wanted: Mapping[str, float], rounds: int) -> int:
    """What `tools/bench NAME` does: time a worker's job on all sides and print it; the exit status.

    `wanted` says, for a precision, how many times as fast as the fastest peer in float32 ours has to be.
    """
    parser = argparse.ArgumentParser(prog=f"tools/bench {name}", description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a target is missed")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--utterances", type=int, default=8, help="of ten seconds, in the batch")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    settings = Settings(arguments.rounds, arguments.threads, arguments.utterances, seed=arguments.seed)
    try:
        report = measure(job, settings)
    except BenchError as error:
        say(f"error: {error}")
        return 1
    report["targets"] = targets(report, wanted)
    print(json.dumps(report, indent=2) if arguments.json else describe(report))
    return finish(report["targets"], arguments.check)


def measure(job: str, settings: Settings) -> dict[str, Any]:
    """Median seconds of a worker's job for every side, each side once a round; JSON."""
    sides = [Side(toolkit, dtype) for dtype in DTYPES for toolkit in SIDES]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(settled_worker(MODULE) if side.toolkit == "asr" else Worker(MODULE, peer_python(PEERS)))
            for side in sides
        ]
        started = []
        for side, worker in zip(sides, workers, strict=True):
            say(f"building {side.name}")
            started.append(
                worker.ask(
                    "build",
                    toolkit=side.toolkit,
                    dtype=side.dtype,
                    threads=settings.threads,
                    utterances=settings.utterances,
                    seconds=settings.seconds,
                    seed=settings.seed,
                )
            )
            for _ in range(2):
                worker.ask(job)
        say(f"{settings.rounds} rounds of {len(sides)} sides")
        answers = alternate([lambda worker=worker: worker.ask(job) for worker in workers], settings.rounds)
    audio = settings.utterances * settings.seconds
    rows = {
        side.name: {**about, "seconds": median(times), "all": times, "audio_seconds_per_second": audio / median(times)}
        for side, about, times in zip(sides, started, answers, strict=True)
    }
    return {"job": job, "machine": machine(), "settings": vars(settings), "sides": rows}


def times_as_fast(report: Mapping[str, Any], dtype: str) -> tuple[float, str]:
    """How many times as fast ours is in a precision as the fastest peer in float32, by medians; and that peer."""
    rows = report["sides"]
    peers = {name: row["seconds"] for name, row in rows.items() if "float32" in name and not name.startswith("asr")}
    fastest = min(peers, key=lambda name: peers[name])
    return peers[fastest] / rows[f"asr {dtype}"]["seconds"], fastest


def targets(report: Mapping[str, Any], wanted: Mapping[str, float]) -> dict[str, bool]:
    """A line for each precision a target is set for, and whether it is met."""
    met = {}
    for dtype, at_least in wanted.items():
        ratio, peer = times_as_fast(report, dtype)
        met[f"{dtype}: {ratio:.2f} times as fast as {peer}, {at_least:g} wanted"] = ratio >= at_least
    return met


def describe(report: Mapping[str, Any]) -> str:
    """The report for people."""
    on, settings = report["machine"], report["settings"]
    head = (
        f"{on['cpu']}, {settings['threads']} of {on['cores']} cores, load {on['load_average']}, {on['date']}\n"
        f"{settings['utterances']} x {settings['seconds']:g} s, "
        f"median of {settings['rounds']} rounds, seed {settings['seed']}"
    )
    rows = [
        (name, f"{row['parameters'] / 1e6:.1f}", row["torch"], f"{row['seconds']:.3f}",
         f"{min(row['all']):.3f}", f"{row['audio_seconds_per_second']:.0f}")
        for name, row in report["sides"].items()
    ]  # fmt: skip
    met = [f"{'met ' if is_met else 'MISSED'}  {line}" for line, is_met in report["targets"].items()]
    header = ("side", "M parameters", "torch", "seconds", "least", "audio-s/s")
    return "\n".join([head, table(header, rows), *met])


def settled_worker(module: str) -> Worker:
    """A worker of ours whose libraries find the environment that `asr` gives them."""
    with patch.dict(os.environ):
        settle_libraries()
        return Worker(module)
