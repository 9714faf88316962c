"""A forward pass of an 11 M Conformer, one utterance or a batch, beside torchaudio's and SpeechBrain's."""

from __future__ import annotations

import argparse
import json
import sys

from tools.benchmarks.common import BenchError, finish, say
from tools.benchmarks.conformers import Settings, describe, measure, targets

PEERS = "training"  # the set that tools/bench is to install
AT_LEAST = {"float32": 1.3}  # times as fast as the fastest peer in float32


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(prog="tools/bench encoder", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a target is missed")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--utterances", type=int, default=8, help="of ten seconds, in the batch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    settings = Settings(arguments.rounds, arguments.threads, arguments.utterances, seed=arguments.seed)
    try:
        report = measure("encode", settings)
    except BenchError as error:
        say(f"error: {error}")
        return 1
    report["targets"] = targets(report, AT_LEAST)
    print(json.dumps(report, indent=2) if arguments.json else describe(report))
    return finish(report["targets"], arguments.check)


if __name__ == "__main__":
    sys.exit(main())
