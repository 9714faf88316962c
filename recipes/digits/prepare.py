"""The built-in corpus: connected digits and short commands, synthesised here; voices of dev and test are unseen.

Needs espeak-ng from the extra [demo] and no network. The same files come out bit for bit on every run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from asr.corpora.recipe import audio_utterance, exit_status, write_splits
from asr.errors import AsrError
from asr.types import Utterance

SEED = 1


class Cast(NamedTuple):
    """Who speaks a split and how much; a voice is an accent (en is British) and a variant found in one split only."""

    voices: tuple[str, ...]
    utterances_per_voice: int


# No variant with "breath" in its definition (f2, f3, f5 ...): espeak-ng says those differently in every process.
CASTS = {
    "train": Cast(
        (
            "en-us+m1",
            "en-us+m3",
            "en-us+m6",
            "en-us+f1",
            "en-us+belinda",
            "en-us+Andrea",
            "en-us+Andy",
            "en-us+Michael",
            "en-us-nyc+norbert",
            "en-us-nyc+zac",
            "en+m2",
            "en+Annie",
            "en+adam",
            "en+Nguyen",
            "en-gb-scotland+m5",
            "en-gb-scotland+steph",
            "en-gb-x-rp+m8",
            "en-gb-x-gbclan+Gene",
            "en-gb-x-gbcwmd+Alex",
            "en-029+Denis",
        ),
        146,
    ),
    "dev": Cast(("en-us+f4", "en+m4", "en-us+Mario"), 70),
    "test": Cast(("en+linda", "en-us+m7", "en-us+Lee"), 70),
}


def prepare(out: Path, casts: Mapping[str, Cast] = CASTS, jobs: int | None = None) -> None:
    """Write out/wav/<voice>/*.wav and the manifests; `jobs` voices speak at a time (default: one per core)."""
    tasks = [(split, voice, cast.utterances_per_voice) for split, cast in casts.items() for voice in cast.voices]
    splits: dict[str, list[Utterance]] = {split: [] for split in casts}
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        results = pool.map(lambda task: speak(task[1], task[2], out / "wav" / task[1].replace("+", "-")), tasks)
        for done, ((split, voice, count), utterances) in enumerate(zip(tasks, results, strict=True), start=1):
            splits[split].extend(utterances)
            print(f"voice {done} of {len(tasks)}: {voice} said {count} utterances", file=sys.stderr, flush=True)
    write_splits(out, splits)


def speak(voice: str, count: int, folder: Path) -> list[Utterance]:
    """The utterances of one voice, spoken by a process of their own; AsrError with its last line if that fails."""
    program = Path(__file__).with_name("synthesis.py")
    command = [sys.executable, str(program), voice, str(count), str(SEED), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise AsrError((result.stderr.splitlines() or [f"{program} failed"])[-1].removeprefix("error: "))
    rows = map(json.loads, result.stdout.splitlines())
    return [audio_utterance(row["id"], folder / f"{row['id']}.wav", row["text"], folder.name) for row in rows]


def main() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for audio and manifests, such as data/digits")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="voices synthesised at a time [%(default)s]")
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error("--jobs must be at least 1")
    return exit_status(lambda: prepare(arguments.out, jobs=arguments.jobs))


if __name__ == "__main__":
    sys.exit(main())
