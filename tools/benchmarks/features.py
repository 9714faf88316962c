"""Log mel energies beside kaldi-native-fbank's and torchaudio's, with one thread and with one for each core."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

import numpy as np

from asr.system.processes import num_cores
from tools.benchmarks.common import BenchError, Worker, alternate, finish, machine, peer_python, say, table
from tools.benchmarks.conformers import settled_worker

PEERS = "training"  # the set that tools/bench is to install
MODULE = "tools.benchmarks.features_worker"
TOOLKITS = ("asr", "kaldi-native-fbank", "torchaudio")
AT_LEAST = 2.0  # times as fast as kaldi-native-fbank
TOLERANCE = 0.01  # between the logarithms of the three


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(prog="tools/bench features", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if the target is missed")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, nargs="+", default=[3.0, 10.0, 60.0], help="of the waveforms")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        report = compare(arguments.seconds, arguments.rounds, arguments.seed)
    except BenchError as error:
        say(f"error: {error}")
        return 1
    print(json.dumps(report, indent=2) if arguments.json else describe(report))
    return finish(report["targets"], arguments.check)


def compare(lengths: Sequence[float], rounds: int, seed: int) -> dict[str, Any]:
    """Median times real time, by threads and length; BenchError if the features differ."""
    rows = [_row(threads, seconds, rounds, seed) for threads in sorted({1, num_cores()}) for seconds in lengths]
    met = {
        f"{row['threads']} threads, {row['seconds']:g} s: {row['ratio']:.1f} times as fast as kaldi-native-fbank, "
        f"{AT_LEAST:g} wanted": row["ratio"] >= AT_LEAST
        for row in rows
    }
    return {"machine": machine(), "rounds": rounds, "seed": seed, "rows": rows, "targets": met}


def _row(threads: int, seconds: float, rounds: int, seed: int) -> dict[str, Any]:
    with ExitStack() as stack:
        workers = [
            stack.enter_context(settled_worker(MODULE) if name == "asr" else Worker(MODULE, peer_python(PEERS)))
            for name in TOOLKITS
        ]
        found = [
            worker.ask("build", toolkit=name, threads=threads, seconds=seconds, seed=seed)
            for name, worker in zip(TOOLKITS, workers, strict=True)
        ]
        values = [np.array(worker.ask("values")) for worker in workers]
        for name, other in zip(TOOLKITS[1:], values[1:], strict=True):
            if other.shape != values[0].shape or np.abs(other - values[0]).max() > TOLERANCE:
                raise BenchError(f"the features of {name} differ from ours; nothing can be compared")
        repeats = max(1, round(30 / seconds))
        sides = [lambda worker=worker: worker.ask("features", repeats=repeats) for worker in workers]
        times = [median(answers) for answers in alternate(sides, rounds)]
    return {
        "threads": threads,
        "seconds": seconds,
        "times_real_time": {name: seconds / one for name, one in zip(TOOLKITS, times, strict=True)},
        "ratio": times[1] / times[0],
        "versions": found,
    }


def describe(report: dict[str, Any]) -> str:
    """The report for people."""
    on = report["machine"]
    head = f"{on['cpu']}, {on['cores']} cores, load {on['load_average']}, {on['date']}; times real time"
    rows = []
    for row in report["rows"]:
        speeds = [f"{value:.0f}" for value in row["times_real_time"].values()]
        rows.append((f"{row['threads']} threads, {row['seconds']:g} s", *speeds, f"{row['ratio']:.1f}"))
    met = [f"{'met ' if is_met else 'MISSED'}  {line}" for line, is_met in report["targets"].items()]
    return "\n".join([head, table(("", *TOOLKITS, "ratio"), rows), *met])


if __name__ == "__main__":
    sys.exit(main())
