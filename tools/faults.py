"""Kills a training run at random moments with `kill -9` and resumes it, until it was killed often enough.

After every kill the newest checkpoint must load without a complaint and be no more than `checkpoint_every` steps behind
the log. Whenever a run comes to its end, its weights must equal, to the last bit, those of a run that was never killed;
then another run begins. The corpus is made of tones, so that nothing has to be downloaded.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess
from pathlib import Path

import numpy as np

from asr.audio.io import write_wav
from asr.data.manifest import write_manifest
from asr.experiments import launch
from asr.experiments.claim import is_claimed
from asr.training.checkpoint import CheckpointFolder
from asr.training.metrics import LOG_FILE, is_finished, read_log
from asr.types import Utterance

FORK = multiprocessing.get_context("fork")  # a killed process is a killed process, and torch is imported once
CHECKPOINT_EVERY = 7
SAMPLE_RATE = 8000
WORDS = ("one", "two", "three", "four", "five")
EXPERIMENT = f"""
seed: 1
data: {{train: train.jsonl, dev: dev.jsonl, num_workers: 1, max_batch_seconds: 3}}
frontend: {{features: {{name: fbank, sample_rate: {SAMPLE_RATE}, num_mel_bins: 40}}}}
augment: {{speed_range: [0.9, 1.1], gain_db: [-6, 6]}}
encoder: {{name: conformer, dim: 32, num_layers: 2, num_heads: 2, ff_dim: 64, subsampling: {{channels: 8}}}}
optimizer: {{lr: 0.002}}
training: {{epochs: 5, checkpoint_every: {CHECKPOINT_EVERY}, log_every: 1, average_num: 3, ema_decay: 0.9}}
"""


@dataclass
class Tally:
    """What came of it."""

    kills: int = 0
    before_the_first_checkpoint: int = 0
    ended_runs: int = 0
    most_steps_lost: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.before_the_first_checkpoint} of them before the first checkpoint; at most "
            f"{self.most_steps_lost} steps lost (checkpoints are {CHECKPOINT_EVERY} apart); {self.ended_runs} runs "
            f"came to their end; problems: {'; '.join(self.problems) or 'none'}"
        )


def make_corpus(folder: Path) -> None:
    """Forty-four utterances of tones, one pitch for each word, and the experiment."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(44):
        said = rng.integers(0, len(WORDS), 3)
        times = np.arange(round(0.4 * SAMPLE_RATE)) / SAMPLE_RATE
        waveform = np.concatenate([0.3 * np.sin(2 * np.pi * 300 * (1 + word) * times) for word in said])
        path = folder / "audio" / f"{number}.wav"
        write_wav(path, waveform.astype(np.float32), SAMPLE_RATE)
        text = " ".join(WORDS[word] for word in said)
        rows.append(Utterance(f"u{number}", path, len(waveform) / SAMPLE_RATE, text))
    write_manifest(folder / "train.jsonl", rows[:40])
    write_manifest(folder / "dev.jsonl", rows[40:])
    (folder / "experiment.yaml").write_text(EXPERIMENT, encoding="utf-8")


def start(out: Path) -> ForkProcess:
    """A process that begins a run, or goes on with it; what it says goes into a file beside the folder."""
    process = FORK.Process(target=_train, args=(out,))
    process.start()
    return process


def _train(out: Path) -> None:
    os.chdir(out.parent)
    sys.stderr = open(out.with_suffix(".log"), "w", encoding="utf-8")
    launch.train(Path("experiment.yaml"), Path(out.name), resume=True, device="cpu", threads=1)


def wait(process: ForkProcess, out: Path, limit: float = math.inf) -> float:
    """Until the run ends, or for `limit` seconds after it took hold of its folder; returns the seconds since it did."""
    while process.is_alive() and not is_claimed(out):
        time.sleep(0.005)
    began = time.monotonic()
    while process.is_alive() and time.monotonic() - began < limit:
        time.sleep(0.005)
    return time.monotonic() - began


def check_killed(out: Path, tally: Tally) -> None:
    """Look at what a kill left behind."""
    tally.kills += 1
    checkpoints = CheckpointFolder(out / "training")
    loaded = checkpoints.load_newest() if checkpoints.exist() else None
    if loaded is None:
        tally.before_the_first_checkpoint += 1
    progress_step, warnings = (loaded[0].step, loaded[2]) if loaded else (0, [])
    tally.problems += warnings
    log = out / "training" / LOG_FILE
    records = read_log(log) if log.is_file() else []
    lost = max((record["step"] for record in records if "step" in record), default=0) - progress_step
    tally.most_steps_lost = max(tally.most_steps_lost, lost)
    if lost > CHECKPOINT_EVERY:
        tally.problems.append(f"{out.name}: {lost} steps lost")


def check_ended(process: ForkProcess, out: Path, expected: bytes, tally: Tally) -> None:
    """Look at a run that was not killed in time."""
    if process.exitcode != 0 or not is_finished(out / "training" / LOG_FILE):
        said = out.with_suffix(".log").read_text(encoding="utf-8").splitlines()
        tally.problems.append(f"{out.name}: exit status {process.exitcode}, {' '.join(said[-1:])}")
        return
    tally.ended_runs += 1
    if (out / "model.safetensors").read_bytes() != expected:
        tally.problems.append(f"{out.name}: other weights than the run that was never killed")


def kill_runs(folder: Path, kills: int, seed: int) -> Tally:
    """The whole game in an empty folder."""
    make_corpus(folder)
    whole = folder / "whole"
    process = start(whole)
    span = wait(process, whole)
    if process.exitcode != 0:
        raise SystemExit(f"error: the run that nobody killed failed: {whole.with_suffix('.log').read_text()}")
    print(f"a run takes {span:.1f} s from its first sign of life to its end", flush=True)
    expected = (whole / "model.safetensors").read_bytes()
    generator, tally, number = random.Random(seed), Tally(), 0
    ended = False
    while not tally.problems and not (tally.kills >= kills and ended):  # the last run is to end, too
        out = folder / f"run{number}"
        process = start(out)
        seconds = wait(process, out, generator.uniform(0, span) if tally.kills < kills else math.inf)
        ended = not process.is_alive()
        if not ended:
            process.kill()
            process.join()
            check_killed(out, tally)
            print(f"{out.name}: kill {tally.kills} after {seconds:.2f} s", flush=True)
        else:
            check_ended(process, out, expected, tally)
            print(f"{out.name}: ended after {seconds:.2f} s", flush=True)
            span = min(span, seconds)  # the machine may have been busier at first
            number += 1
    return tally


def main() -> None:
    """Exit status 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="asr-faults-") as folder:
        tally = kill_runs(Path(folder), arguments.kills, arguments.seed)
    print(tally)
    sys.exit(bool(tally.problems))


if __name__ == "__main__":
    main()
