"""Scoring beside jiwer, with full alignments; time of an interval, memory of a large corpus."""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from tools.benchmarks.common import BenchError, Worker, alternate, finish, machine, say, table

ERROR_RATES = (0.05, 0.1, 0.2)
AT_LEAST = 10.0  # times as fast as jiwer
UTTERANCES, SECONDS_AT_MOST = 2620, 1.5  # of LibriSpeech test-clean; process time after start-up
GIBIBYTES_AT_MOST = 1.0  # of a million pairs
WORDS = 20  # of a reference
LENGTHS = (1, 39)  # fewest and most, for the interval, whose time grows with how different utterances are


def main() -> int:
    """Measure and print what came out."""
    parser = argparse.ArgumentParser(prog="tools/bench score", description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--memory", type=int, default=0, metavar="PAIRS", help="also score a file of so many pairs")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a target is missed")
    arguments = parser.parse_args()
    try:
        report = measure(arguments.pairs, arguments.rounds, arguments.seed, arguments.memory)
    except BenchError as error:
        say(f"error: {error}")
        return 1
    print(json.dumps(report, indent=2) if arguments.json else describe(report))
    return finish(report["targets"], arguments.check)


def measure(num_pairs: int, rounds: int, seed: int, in_memory: int) -> dict[str, Any]:
    """Everything that is measured, as JSON. Times are CPU seconds; both sides take turns in processes of their own."""
    if importlib.util.find_spec("jiwer") is None:
        raise BenchError("jiwer is missing; install the extra 'test': tools/setup_venv test")
    report: dict[str, Any] = {"benchmark": "score", "pairs": num_pairs, "rounds": rounds, "seed": seed, "speed": {}}
    with tempfile.TemporaryDirectory() as folder:
        for rate in ERROR_RATES:
            say(f"{num_pairs} pairs, {100 * rate:g} % errors ...")
            texts = _write_texts(Path(folder) / "texts.json", make_pairs(num_pairs, rate, seed))
            report["speed"][str(rate)] = _beside_jiwer(texts, rounds)
        utterances = make_pairs(UTTERANCES, ERROR_RATES[0], seed, LENGTHS)
        texts = _write_texts(Path(folder) / "texts.json", utterances)
        with Worker("tools.benchmarks.score_worker") as ours:
            report["versions"] = ours.ask("load", path=str(texts))
            report["interval_seconds"] = ours.ask("interval")["seconds"]["cpu"]
        if in_memory:
            say(f"{in_memory} pairs from files ...")
            report["memory"] = _memory(Path(folder), in_memory, seed)
    report["machine"] = machine()
    report["targets"] = _targets(report)
    return report


def make_pairs(
    num_pairs: int, error_rate: float, seed: int, lengths: tuple[int, int] = (WORDS, WORDS)
) -> Iterator[tuple[str, str]]:
    """References of random words, and hypotheses; half of the errors are substitutions, the others of both kinds."""
    rng = random.Random(seed)
    vocabulary = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 8))) for _ in range(10_000)]
    for _ in range(num_pairs):
        said = rng.choices(vocabulary, k=rng.randint(*lengths))
        heard: list[str] = []
        for word in said:
            kind = rng.random() / error_rate
            if kind < 0.5:
                heard.append(rng.choice(vocabulary))
            elif kind < 0.75:
                heard += [word, rng.choice(vocabulary)]
            elif kind >= 1:
                heard.append(word)
        yield " ".join(said), " ".join(heard)


def _write_texts(path: Path, pairs: Iterator[tuple[str, str]]) -> Path:
    path.write_text(json.dumps(list(zip(*pairs, strict=True))), encoding="utf-8")
    return path


def _beside_jiwer(texts: Path, rounds: int) -> dict[str, Any]:
    """Medians of CPU seconds after one round that compiles; BenchError if the counts differ."""
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker("tools.benchmarks.score_worker")) for name in ("asr", "jiwer")}
        for worker in workers.values():
            worker.ask("load", path=str(texts))
        counts = [worker.ask(name)["counts"] for name, worker in workers.items()]
        if counts[0] != counts[1]:
            raise BenchError(f"the counts differ: {counts[0]} by asr, {counts[1]} by jiwer")
        sides = [
            lambda name=name, worker=worker: worker.ask(name)["seconds"]["cpu"] for name, worker in workers.items()
        ]
        ours, theirs = alternate(sides, rounds)
    ratios = [other / own for own, other in zip(ours, theirs, strict=True)]
    return {"asr": median(ours), "jiwer": median(theirs), "times_as_fast": median(ratios), "counts": counts[0]}


def _memory(folder: Path, num_pairs: int, seed: int) -> dict[str, float]:
    """`asr score` on two files, in a process of its own."""
    paths = folder / "ref.tsv", folder / "hyp.tsv"
    with paths[0].open("w", encoding="utf-8") as references, paths[1].open("w", encoding="utf-8") as hypotheses:
        for row, (reference, hypothesis) in enumerate(make_pairs(num_pairs, ERROR_RATES[1], seed)):
            references.write(f"utterance-{row:08}\t{reference}\n")
            hypotheses.write(f"utterance-{row:08}\t{hypothesis}\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "asr.cli.main", "score", *map(str, paths)], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The peak is that of the largest child so far, which is this one as soon as there are many pairs.
    return {"pairs": num_pairs, "gibibytes": after.ru_maxrss / 2**20, "seconds": after.ru_utime - before.ru_utime}


def _targets(report: dict[str, Any]) -> dict[str, bool]:
    met = {
        f"{row['times_as_fast']:.1f} times as fast as jiwer at {100 * float(rate):g} % errors, {AT_LEAST:g} wanted": (
            row["times_as_fast"] >= AT_LEAST
        )
        for rate, row in report["speed"].items()
    }
    seconds = report["interval_seconds"]
    line = f"{UTTERANCES} utterances and 10000 samples in {seconds:.2f} s, at most {SECONDS_AT_MOST:g} wanted"
    met[line] = seconds <= SECONDS_AT_MOST
    if memory := report.get("memory"):
        line = f"{memory['pairs']} pairs in {memory['gibibytes']:.2f} GiB, at most {GIBIBYTES_AT_MOST:g} wanted"
        met[line] = memory["gibibytes"] <= GIBIBYTES_AT_MOST
    return met


def describe(report: dict[str, Any]) -> str:
    """The report for people."""
    rows = [
        (
            f"{100 * float(rate):g}",
            f"{1000 * row['asr']:.1f}",
            f"{1000 * row['jiwer']:.1f}",
            f"{row['times_as_fast']:.1f}",
        )
        for rate, row in report["speed"].items()
    ]
    machine = report["machine"]
    head = f"{machine['cpu']}, load {machine['load_average']}, {machine['date']}; {report['pairs']} pairs, CPU time"
    met = [f"{'met ' if is_met else 'MISSED'}  {line}" for line, is_met in report["targets"].items()]
    return "\n".join([head, table(("errors %", "asr ms", "jiwer ms", "times as fast"), rows), *met])


if __name__ == "__main__":
    sys.exit(main())
