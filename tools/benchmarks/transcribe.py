"""How fast files become texts, and whether long recordings give what their parts give.

1. speed: short files one at a time, in batches, in batches under bfloat16, and with two processes, in turn;
2. joins: utterances with random gaps of digital silence between them in one recording. "Differs" is the word error rate
   of the joined texts against those of the utterances transcribed one by one, so whether the texts are right does not
   matter; the error of starts is against the moments at which a single utterance becomes loud;
3. noise: words written for an hour of digital silence, and for ESC-10's clips in random order, over and over for an
   hour, by class;
4. memory: the most that a process of its own holds for three hours, with a model of 11 M random weights.
Speed and joins need data/an4 (recipes/an4/prepare.py), noise and the second join the corpora.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from asr.audio.io import load_audio
from asr.bundle import Bundle
from asr.config import parse_config, read_yaml
from asr.data.manifest import read_manifest
from asr.decoding.timing import HOP, loudness
from asr.display import Display
from asr.runtime import computes_bfloat16, derive_rng, peak_memory_mb
from asr.scoring.wer import score
from asr.transcribe.inputs import Job, find_all
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.run import Power, Wanted, run
from asr.transcribe.subtitles import DEFAULT_RULES
from asr.types import Segment
from tools.benchmarks.common import ROOT, alternate, finish, machine, say, table

RATE = 16000
HOUR = 3600 * RATE
LARGE = {"dim": 256, "num_layers": 12, "num_heads": 4, "ff_dim": 1024}  # 11 M parameters: a Conformer S of the papers


@dataclass(frozen=True)
class Utterances:
    """Ids and waveforms of utterances, in the order of the join."""

    name: str
    ids: list[str]
    waveforms: list[np.ndarray]


def transcribe_all(model: Path, files: Sequence[Path], workers: int, dtype: str) -> float:
    """Seconds from the first file to the last text, the model's loading apart."""
    recordings, _ = find_all(map(str, files))
    texts: list[str] = []
    load = partial(Recognizer.load, model, "cpu", dtype)
    recognizer = load()
    began = 0.0

    def loaded() -> Recognizer:
        nonlocal began
        began = time.perf_counter()
        return recognizer

    wanted = Wanted(("txt",), DEFAULT_RULES, str(model))
    jobs = [Job(recording, {}) for recording in recordings]
    problems = run(jobs, loaded if workers == 1 else load, wanted, Power(workers), Display(), texts.append)
    assert not problems
    assert len(texts) == len(files)
    return time.perf_counter() - began


def one_at_a_time(recognizer: Recognizer, files: Sequence[Path]) -> float:
    """Seconds of a loop over files."""
    began = time.perf_counter()
    for file in files:
        recognizer.transcribe(file)
    return time.perf_counter() - began


def batched(recognizer: Recognizer, files: Sequence[Path]) -> float:
    """Seconds with all files in one pipeline."""
    recordings, _ = find_all(map(str, files))
    wanted = Wanted(("txt",), DEFAULT_RULES, "model")
    began = time.perf_counter()
    run([Job(one, {}) for one in recordings], lambda: recognizer, wanted, Power(), Display(quiet()), lambda _: None)
    return time.perf_counter() - began


def quiet() -> Any:
    """Somewhere to write what nobody reads."""
    return open("/dev/null", "w")  # noqa: PTH123


def speed(model: Path, files: Sequence[Path], rounds: int) -> list[list[str]]:
    """Rows of a table: real-time factors and how they compare with one file at a time."""
    seconds = sum(soundfile.info(file).duration for file in files)
    sides: dict[str, Callable[[], float]] = {}
    plain = Recognizer.load(model, "cpu")
    sides["one at a time"] = partial(one_at_a_time, plain, files)
    sides["batched"] = partial(batched, plain, files)
    if computes_bfloat16(torch.device("cpu")):
        sides["batched, bfloat16"] = partial(batched, Recognizer.load(model, "cpu", "bfloat16"), files)
    for side in sides.values():
        side()  # kernels are compiled on first use
    taken = alternate(list(sides.values()), rounds)
    base = np.array(taken[0])
    return [
        [name, f"{np.median(times) / seconds:.4f}", f"{np.median(base / np.array(times)):.2f}"]
        for name, times in zip(sides, taken, strict=True)
    ]
