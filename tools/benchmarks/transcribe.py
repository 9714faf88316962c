"""How fast files become texts, and whether long recordings give what their parts give.

1. speed: short files one at a time, in batches, in batches under bfloat16, and with two processes, in turn, with the
   model and with one of 11 M random weights;
2. joins: utterances with random gaps of digital silence between them in one recording. "Differs" is the word error rate
   of the texts of the join against those of the utterances transcribed one by one, so whether texts are right does not
   matter; the error of starts is against the moments at which a single utterance becomes loud;
3. noise: words written for an hour of digital silence, and for ESC-10's clips over and over for an hour, by class;
4. memory: the most that a process of its own holds for three hours, with the larger model.
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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from asr.alignment.timing import HOP, loudness
from asr.audio.io import load_audio
from asr.bundle.bundle import Bundle
from asr.config import parse_experiment, read_yaml
from asr.data.manifest import read_manifest
from asr.scoring.wer import score
from asr.system.processes import num_cores
from asr.system.runtime import computes_bfloat16, derive_rng
from asr.transcribe.engine import Engine
from asr.transcribe.files import Transcribed, transcribe_files
from asr.transcribe.inputs import find_all
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.workers import worker_engine
from tools.benchmarks.common import ROOT, alternate, finish, machine, say, table

RATE = 16000
LARGE = ("encoder.dim=256", "encoder.num_layers=12", "encoder.ff_dim=1024")  # 11 M parameters
GAP_SECONDS = (1.0, 3.0)


def through(engine: Engine, files: Sequence[Path]) -> float:
    """Seconds for all files in one engine."""
    recordings, _ = find_all(map(str, files))
    began = time.perf_counter()
    assert all(isinstance(result, Transcribed) for result in transcribe_files(engine, recordings, "model"))
    return time.perf_counter() - began


def one_by_one(recognizer: Recognizer, files: Sequence[Path]) -> float:
    """Seconds of a loop over files."""
    began = time.perf_counter()
    for file in files:
        recognizer.transcribe(file)
    return time.perf_counter() - began


def speed(model: Path, files: Sequence[Path], rounds: int) -> tuple[list[list[str]], float]:
    """Rows of a table, and how many times as fast as one by one batches are."""
    seconds = sum(soundfile.info(file).duration for file in files)
    load = partial(Recognizer.load, model, "cpu")
    plain = load()
    sides: dict[str, Callable[[], float]] = {
        "one by one": partial(one_by_one, plain, files),
        "batches": partial(through, plain.engine, files),
    }
    if computes_bfloat16(torch.device("cpu")):
        sides["batches, bfloat16"] = partial(through, load(dtype="bfloat16").engine, files)
    with worker_engine(2, load, max(1, num_cores() // 2), plain) as many:
        sides["batches, 2 workers"] = partial(through, many, files)
        for side in sides.values():
            side()  # kernels are compiled on first use
        taken = dict(zip(sides, alternate(list(sides.values()), rounds), strict=True))
    base = np.array(taken["one by one"])
    gains = {name: float(np.median(base / np.array(times))) for name, times in taken.items()}
    rows = [[name, f"{np.median(times) / seconds:.4f}", f"{gains[name]:.2f}"] for name, times in taken.items()]
    return rows, gains["batches"]


def joined(recognizer: Recognizer, waveforms: Sequence[np.ndarray], seed: int) -> dict[str, float]:
    """How the text of a join differs from those of its utterances, and how wrong the starts of segments are."""
    rng = derive_rng("join", seed)
    pieces: list[np.ndarray] = []
    bounds = []
    reached = 0
    for waveform in waveforms:
        gap = int(rng.uniform(*GAP_SECONDS) * RATE)
        bounds.append((reached + gap, reached + gap + len(waveform)))
        reached += gap + len(waveform)
        pieces += [np.zeros(gap, dtype=np.float32), waveform]
    segments = recognizer.transcribe(np.concatenate(pieces), RATE).segments
    alone, together, errors, outside = {}, {}, [], 0
    for number, (waveform, (first, last)) in enumerate(zip(waveforms, bounds, strict=True)):
        own = [one for one in segments if first <= (one.start + one.end) / 2 * RATE <= last]
        alone[str(number)] = recognizer.transcribe(waveform, RATE).text
        together[str(number)] = " ".join(segment.text for segment in own)
        outside += len(own)
        if own:
            errors.append(abs(own[0].start - first / RATE - onset(waveform)))
    words = score(alone, together).words
    ends = [segment.end for segment in segments]
    return {
        "seconds": reached / RATE,
        "words": words.reference_length,
        "differs": words.rate or 0.0,
        "start_error": float(np.median(errors)),
        "outside": len(segments) - outside,
        "overlaps": sum(after.start < end for after, end in zip(segments[1:], ends, strict=False)),
    }


def onset(waveform: np.ndarray) -> float:
    """The second from which an utterance is loud for a tenth of one: half way between its 10th and 95th percentile."""
    level = loudness(waveform, RATE)
    low, high = np.percentile(level, (10, 95))
    run = 0
    for place, is_loud in enumerate(level > (low + high) / 2):
        run = run + 1 if is_loud else 0
        if run == round(0.1 / HOP):
            return (place - run + 1) * HOP
    return 0.0


def words_in_noise(recognizer: Recognizer, clips: Sequence[Path], hours: float) -> Counter[str]:
    """Words written for clips in random orders, end to end, by the folder that a clip is in."""
    found: Counter[str] = Counter()
    order: list[Path] = []
    pieces: list[np.ndarray] = []
    total = round_number = 0
    while total < hours * 3600 * RATE:
        for place in derive_rng("noise", round_number).permutation(len(clips)).tolist():
            order.append(clips[place])
            pieces.append(load_audio(clips[place], RATE))
            total += len(pieces[-1])
        round_number += 1
    ends = np.cumsum([len(piece) for piece in pieces]) / RATE
    for segment in recognizer.stream_segments(np.concatenate(pieces), RATE):
        for word in segment.words:
            found[order[int(np.searchsorted(ends, (word.start + word.end) / 2))].parent.name] += 1
    return found


def large_model(folder: Path, like: Path) -> Path:
    """A model of 11 M random weights with the front-end and tokens of another."""
    small = Bundle.load(like)
    config = parse_experiment(read_yaml(like / "config.yaml"), LARGE, source=str(like))
    Bundle.build(config, small.frontend, small.tokenizer).save(folder)
    return folder


def peak_memory(model: Path, speech: np.ndarray, hours: float) -> float:
    """MB that `asr transcribe` holds at most for a wav file of so many hours of speech."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "long.wav")
        with soundfile.SoundFile(path, "w", RATE, 1) as file:
            for _ in range(round(hours * 3600 * RATE / len(speech))):
                file.write(speech)
        command = [sys.executable, "-m", "asr.cli.main", "transcribe", str(path), "--model", str(model)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    say(done.stderr.strip())
    return float(done.stderr.rpartition("at most ")[2].split()[0])


Report = tuple[dict[str, Any], dict[str, bool]]  # what was measured, and which targets were met


def measure_speed(arguments: argparse.Namespace, files: Sequence[Path]) -> Report:
    """Part 1."""
    report = {}
    targets = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in (
            (str(arguments.model), arguments.model),
            ("11 M", large_model(Path(folder), arguments.model)),
        ):
            rows, gain = speed(model, files, arguments.rounds)
            say(table([f"{len(files)} files of AN4 {arguments.split}, {name}", "RTF", "times as fast"], rows))
            report[f"speed of {name}"] = rows
            targets[f"{name}: batches twice as fast as one by one"] = gain >= 2
    return report, targets


def measure_joins(arguments: argparse.Namespace, files: Sequence[Path]) -> Report:
    """Part 2."""
    recognizer = Recognizer.load(arguments.model, "cpu")
    report: dict[str, Any] = {}
    targets = {}
    reading = sorted((arguments.corpora / "ljspeech_tail" / "wavs").glob("*.opus"))
    for name, paths in ((f"AN4 {arguments.split}", files), ("LJ Speech LJ002", reading)):
        found = joined(recognizer, [load_audio(path, RATE) for path in paths], arguments.seed)
        report[f"join of {name}"] = found
        targets[f"{name}: differs by less than 0.5 %"] = found["differs"] < 0.005
        targets[f"{name}: starts within 80 ms"] = found["start_error"] < 0.08
        targets[f"{name}: no segment outside or over another"] = found["outside"] == found["overlaps"] == 0
        say(f"join of {name}: " + ", ".join(f"{key} {value:.4g}" for key, value in found.items()))
    return report, targets


def measure_noise(arguments: argparse.Namespace, _files: Sequence[Path]) -> Report:
    """Part 3."""
    recognizer = Recognizer.load(arguments.model, "cpu")
    silence = np.zeros(round(arguments.hours * 3600 * RATE), dtype=np.float32)
    in_silence = len(recognizer.transcribe(silence, RATE).text.split())
    noise = words_in_noise(recognizer, sorted(arguments.corpora.glob("esc10/**/*.ogg")), arguments.hours)
    say(f"words: {in_silence} in silence, {noise.total()} in noise {dict(noise)}")
    few = noise.total() <= 20 * arguments.hours
    return (
        {"silence": in_silence, "noise": noise},
        {"no word in silence": in_silence == 0, "at most 20 words an hour in noise": few},
    )


def measure_memory(arguments: argparse.Namespace, files: Sequence[Path]) -> Report:
    """Part 4."""
    speech = np.concatenate([load_audio(file, RATE) for file in files])
    with tempfile.TemporaryDirectory() as folder:
        megabytes = peak_memory(large_model(Path(folder), arguments.model), speech, 3 * arguments.hours)
    return {"memory_mb": megabytes}, {"less than 1.5 GB": megabytes < 1500}


PARTS = {"speed": measure_speed, "joins": measure_joins, "noise": measure_noise, "memory": measure_memory}


def main() -> int:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "recipes" / "an4" / "model", help="[%(default)s]")
    parser.add_argument("--corpora", type=Path, default=ROOT.parent / "shared" / "corpora", help="[%(default)s]")
    parser.add_argument("--split", default="dev", help="of data/an4 [%(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="of the measurement of speed [%(default)s]")
    parser.add_argument(
        "--hours", type=float, default=1.0, help="of silence and noise; memory takes three times as many"
    )
    parser.add_argument("--parts", default=",".join(PARTS), help="what to measure [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of the gaps [%(default)s]")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts.split(",")) - set(PARTS):
        parser.error(f"unknown parts {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    files = [row.audio for row in read_manifest(ROOT / "data" / "an4" / f"{arguments.split}.jsonl")]
    report: dict[str, Any] = {"machine": machine()}
    targets: dict[str, bool] = {}
    for part in arguments.parts.split(","):
        found, met = PARTS[part](arguments, files)
        report |= found
        targets |= met
    if arguments.json:
        print(json.dumps(report, indent=2))
    return finish(targets, arguments.check)


if __name__ == "__main__":
    sys.exit(main())
