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

from asr.bundle.bundle import Bundle
from asr.bundle.decode import SearchRequest, choose_decoding
from asr.data.manifest import read_manifest, write_manifest
from asr.decoding import SEARCHES
from asr.errors import AsrError, ConfigError
from asr.evaluate.evaluator import evaluate
from tools.benchmarks.common import finish, machine, say, table, versions

AT_LEAST = {"joint_beam": 20.0}  # times faster than real time


def main() -> int:
    """Evaluate with each search in turn and print what came out."""
    parser = argparse.ArgumentParser(prog="tools/bench search", description=__doc__)
    parser.add_argument("model", type=Path, metavar="EXP", help="model folder")
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="what to transcribe, with reference texts")
    parser.add_argument("--searches", metavar="NAMES", help="only these, with commas between; all that fit otherwise")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of a search")
    parser.add_argument("--lm", metavar="LM", help="language model to add; the model's own otherwise, 'none' for none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a target is missed")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    names = arguments.searches.split(",") if arguments.searches else SEARCHES.names()
    requests = [SearchRequest(name, arguments.set, arguments.lm) for name in names]
    try:
        report = compare(arguments.model, arguments.manifest, requests, arguments.threads)
    except AsrError as error:
        say(f"error: {error}")
        return 1
    print(json.dumps(report, indent=2) if arguments.json else describe(report))
    return finish(report["targets"], arguments.check)


def compare(model: Path, manifest: Path, requests: Sequence[SearchRequest], threads: int) -> dict[str, Any]:
    """Everything that is measured, as JSON. Loading audio, features and model are part of the time."""
    bundle = Bundle.load(model)
    results: dict[str, dict[str, Any]] = {}
    for request in requests:
        try:
            decoding = choose_decoding(bundle, model, request)
            decoding.build(bundle, decoding.load_lm(bundle))
        except ConfigError as error:
            say(f"left out: {error}")
            continue
        say(f"{decoding.search.name} ...")
        with tempfile.TemporaryDirectory() as folder:  # the first call may compile, which is not what is measured
            first = Path(folder) / "first.jsonl"
            write_manifest(first, read_manifest(manifest)[:1])
            evaluate(bundle, first, decoding)
        found = evaluate(bundle, manifest, decoding)
        results[decoding.search.name] = {
            "decoding": decoding.to_json(),
            "wer": found.score.words.rate,
            "seconds": found.seconds,
            "times_real_time": 1.0 / found.rtf if found.rtf else None,
        }
    met = {}
    for name, least in AT_LEAST.items():
        if name in results:
            speed = results[name]["times_real_time"] or 0.0
            met[f"{name} runs at {speed:.1f} times real time, at least {least:g} wanted"] = speed >= least
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
        (name, f"{100 * (row['wer'] or 0.0):.2f}", f"{row['seconds']:.1f}", f"{row['times_real_time'] or 0.0:.1f}")
        for name, row in report["searches"].items()
    ]
    machine = report["machine"]
    head = f"{machine['cpu']}, {report['threads']} threads, load {machine['load_average']}, {machine['date']}"
    met = [f"{'met ' if is_met else 'MISSED'}  {line}" for line, is_met in report["targets"].items()]
    return "\n".join([head, table(("search", "WER %", "seconds", "x real time"), rows), *met])


if __name__ == "__main__":
    sys.exit(main())
