"""Trains a recipe for a few steps and writes the loss of each at full precision, to compare versions of the toolkit.

Only the command line is used, and nothing is imported from the toolkit, so that the same script measures any version of
it: `--toolkit DIR` names a checkout other than this one. Training is on one thread, in float32, on as many of the
recipe's first rows as the steps need; its data must have been prepared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parents[1]
DEV_ROWS = 4  # a run cannot do without; they have no influence on the losses


def subset(manifest: Path, out: Path, *, seconds: float = 0.0, num_rows: int = 0) -> None:
    """Write the first rows of a manifest: so many, or as many as last for so many seconds. Paths become absolute."""
    with open(manifest, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    if seconds:
        totals = list(accumulate(row["duration"] for row in rows))
        if totals[-1] < seconds:
            raise SystemExit(
                f"{manifest}: {totals[-1]:.0f} s are too few, {seconds:.0f} s are needed; ask for fewer steps"
            )
        num_rows = next(number for number, total in enumerate(totals, 1) if total >= seconds)
    with open(out, "w", encoding="utf-8") as file:
        for row in rows[:num_rows]:
            file.write(json.dumps({**row, "audio": str((manifest.parent / row["audio"]).resolve())}) + "\n")


def measure(config: Path, steps: int, batch_seconds: float, settings: list[str], toolkit: Path) -> dict[str, Any]:
    """Losses and gradient norms of the first steps of one epoch."""
    data = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # a batch holds `batch_seconds` at most, so there are at least as many batches as steps
        subset(Path(data["train"]), folder / "train.jsonl", seconds=steps * batch_seconds)
        subset(Path(data["dev"]), folder / "dev.jsonl", num_rows=DEV_ROWS)
        fixed = [f"data.train={folder / 'train.jsonl'}", f"data.dev={folder / 'dev.jsonl'}",
                 f"data.max_batch_seconds={batch_seconds}", "training.epochs=1", "training.validate_every=1",
                 "training.log_every=1", "training.dtype=float32"]  # fmt: skip
        command = [
            sys.executable,
            "-P",
            "-m",
            "asr",
            "train",
            str(config),
            "--out",
            str(folder / "out"),
            "--device",
            "cpu",
        ]
        command += ["--threads", "1", *(part for setting in [*fixed, *settings] for part in ("--set", setting))]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(toolkit)})
        log = (folder / "out/training/train.jsonl").read_text(encoding="utf-8").splitlines()
    records = [record for record in map(json.loads, log) if record["kind"] == "step"][:steps]
    assert len(records) == steps, f"only {len(records)} steps were taken"
    return {
        "config": str(config),
        "settings": settings,
        "batch_seconds": batch_seconds,
        "loss": [record["loss"] for record in records],
        "grad_norm": [record["grad_norm"] for record in records],
    }


def difference(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    """Where two measurements differ first; None if they are equal to the last digit."""
    for key in ("loss", "grad_norm"):
        if len(one[key]) != len(other[key]):
            return f"{len(one[key])} steps against {len(other[key])}"
        for step, (value, expected) in enumerate(zip(one[key], other[key], strict=True), 1):
            if value != expected:
                return f"{key} of step {step} is {value!r} and was {expected!r}"
    return None


def main() -> None:
    """Command line; exit status 1 if the losses are not those compared with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "config", type=Path, help="a recipe's YAML file; its paths are relative to the working directory"
    )
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch-seconds", type=float, default=12.0, help="data.max_batch_seconds")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="as of `asr train`")
    parser.add_argument("--toolkit", type=Path, default=HERE, help="the checkout to measure")
    parser.add_argument("--out", type=Path, help="write the measurement there, as JSON, and not to stdout")
    parser.add_argument("--compare", type=Path, help="an earlier measurement")
    arguments = parser.parse_args()
    measured = measure(
        arguments.config, arguments.steps, arguments.batch_seconds, arguments.settings, arguments.toolkit.resolve()
    )
    text = json.dumps(measured, indent=1)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    elif arguments.compare is None:
        print(text)
    if arguments.compare is not None:
        found = difference(measured, json.loads(arguments.compare.read_text(encoding="utf-8")))
        print(f"differs: {found}" if found else f"equal: {arguments.steps} losses and norms, to the last digit")
        sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
