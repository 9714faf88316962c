"""A forward pass of an 11 M Conformer beside torchaudio's and SpeechBrain's, in float32 and bfloat16."""

from __future__ import annotations

import sys

from tools.benchmarks.conformers import run

PEERS = "training"  # the set that tools/bench is to install
AT_LEAST = {"float32": 1.3}  # times as fast as the fastest peer in float32


def main() -> int:
    """Run the comparison and print it."""
    return run("encoder", __doc__, "encode", AT_LEAST, rounds=9)


if __name__ == "__main__":
    sys.exit(main())
