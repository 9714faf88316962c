"""Every search of a trained model on a manifest: word error rate, and how many times faster than real time."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from asr.bundle import Bundle
from asr.data.manifest import read_manifest, write_manifest
from asr.decoding import SEARCHES
from asr.decoding.base import build_search
from asr.errors import AsrError
from asr.evaluate import evaluate
from tools.benchmarks.common import finish, machine, say, table, versions

AT_LEAST = {"joint_beam": 20.0}  # times faster than real time


def main() -> int:
    """Evaluate with each search in turn and print what came out."""
    parser = argparse.ArgumentParser(prog="tools/bench search", description=__doc__)
    parser.add_argument("model", type=Path, metavar="EXP", help="model folder")
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="what to transcribe, with reference texts")
    parser.add_argument("--searches", metavar="NAMES", help="only these, with commas between; all that fit otherwise")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a target is missed")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        names = arguments.searches.split(",") if arguments.searches else SEARCHES.names()
        report = compare(arguments.model, arguments.manifest, names, arguments.threads)
    except AsrError as error:
        say(f"error: {error}")
        return 1
    print(json.dumps(report, indent=2) if arguments.json else describe(report))
    return finish(report["targets"], arguments.check)


def compare(model: Path, manifest: Path, names: Sequence[str], threads: int) -> dict[str, Any]:
    """Everything that is measured, as JSON. Loading audio, features and model are part of the time."""
    bundle = Bundle.load(model)
    results = {}
    for name in names:
        config = SEARCHES.config(name).model_validate({})
        try:
            build_search(config, bundle.model)
        except AsrError as error:
            say(f"left out: {error}")
            continue
        say(name)
        with tempfile.TemporaryDirectory() as folder:  # the first call may compile, which is not what is measured
            first = Path(folder) / "first.jsonl"
            write_manifest(first, read_manifest(manifest)[:1])
            evaluate(bundle, first, config)
        found = evaluate(bundle, manifest, config)
        results[name] = {
            "settings": config.model_dump(mode="json"),
            "wer": found.score.words.rate,
            "seconds": found.seconds,
            "times_real_time": 1.0 / found.rtf if found.rtf else None,
        }
    met = {
        f"{name} runs at {results[name]['times_real_time']:.1f} times real time, at least {least:g} wanted": results[
            name
        ]["times_real_time"]
        >= least
        for name, least in AT_LEAST.items()
        if name in results
    }
    return {
        "benchmark": "search",
        "model": str(model),
        "manifest": str(manifest),
        "threads": threads,
        "machine": machine(),
        "versions": versions(("asr-toolkit", "torch", "numpy", "numba")),
        "searches": results,
        "targets": met,
    }


def describe(report: dict[str, Any]) -> str:
    """The report for people."""
    rows = [
        (name, f"{100 * row['wer']:.2f}", f"{row['seconds']:.1f}", f"{row['times_real_time']:.1f}")
        for name, row in report["searches"].items()
    ]
    machine = report["machine"]
    head = f"{machine['cpu']}, {report['threads']} threads, load {machine['load_average']}, {machine['date']}"
    met = [f"{'met ' if is_met else 'MISSED'}  {line}" for line, is_met in report["targets"].items()]
    return "\n".join([head, table(("search", "WER %", "seconds", "x real time"), rows), *met])


if __name__ == "__main__":
    sys.exit(main())
