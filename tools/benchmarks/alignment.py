"""How fast forced alignment is and how far word boundaries are from the truth.

Three measurements, each with the model of its recipe, whose encoder frames are 40 ms (subsampling by 4):
1. speed: milliseconds for 500 frames and 100 tokens (torchaudio's forced_align: 0.55 ms);
2. synthesis: words that espeak-ng says and times itself, by voices unseen in training. A reference word begins at its
   word event and ends at the next event of a word or pause. Silence around it and white noise, 15 to 35 dB below, are
   added;
3. joined: AN4 utterances joined in fives (--group) with 0.5 s of silence between them. References are the first and
   last moments of each single utterance at which it is loud, for 0.1 s, above half way in dB between its 10th and 95th
   percentile.
   Loudness decides boundaries beside silence in the toolkit, too, so this one checks order and place, not taste.
The constants of asr/decoding/timing.py were chosen with --split dev; --split test is for reporting.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes"
sys.path[:0] = [str(ROOT), str(RECIPES / "digits")]

from asr.alignment.forced import forced_align  # noqa: E402
from asr.alignment.timing import HOP, loudness  # noqa: E402
from asr.audio.io import load_audio  # noqa: E402
from asr.bundle.bundle import Bundle  # noqa: E402
from asr.data.manifest import read_manifest  # noqa: E402
from asr.system.runtime import derive_rng, peak_memory_mb  # noqa: E402
from asr.transcribe.align.aligner import Aligner  # noqa: E402
from asr.transcribe.align.script import script_line  # noqa: E402
from asr.types import Word  # noqa: E402

GAP_SECONDS = 0.5


def speed(vocab_size: int, repeats: int = 200) -> float:
    """Median milliseconds for T = 500, L = 100."""
    generator = torch.Generator().manual_seed(0)
    log_probs = torch.randn(1, 500, vocab_size, generator=generator).log_softmax(-1)
    tokens = torch.randint(4, vocab_size, (1, 100), generator=generator)
    arguments = (log_probs, torch.tensor([500]), tokens, torch.tensor([100]), 0)  # blank
    forced_align(*arguments)
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        forced_align(*arguments)
        seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds)


def say(voice: str, count: int) -> list[tuple[np.ndarray, list[Word]]]:
    """What one voice says, in a little white noise, and its words; in a process that speaks nothing else."""
    from synthesis import SAMPLE_RATE, Espeak, draw_text

    espeak = Espeak(voice)
    found = []
    for number in range(count):
        rng = derive_rng("alignment", voice, number)
        rate, pitch, pitch_range = (int(rng.integers(low, high)) for low, high in ((130, 221), (25, 76), (30, 71)))
        speech = espeak.speak(draw_text(rng), rate, pitch, pitch_range)
        before, after = rng.integers(SAMPLE_RATE // 20, SAMPLE_RATE // 2, size=2)
        level = np.sqrt(np.mean(speech.waveform**2)) / 10 ** (rng.uniform(15, 35) / 20)
        padded = np.pad(speech.waveform, (before, after))
        waveform = (padded + level * rng.standard_normal(len(padded))).astype(np.float32)
        start = before / SAMPLE_RATE
        words = [Word(word.start + start, word.end + start, word.text) for word in speech.words]
        found.append((waveform, words))
    return found


def synthesis(split: str, count: int) -> dict[str, list[float]]:
    """Signed errors in seconds of starts and ends on synthesised speech."""
    from recipes.digits.prepare import CASTS

    voices = CASTS[split].voices
    bundle = Bundle.load(RECIPES / "digits" / "model")
    aligner = Aligner(bundle)
    errors: dict[str, list[float]] = {"starts": [], "ends": []}
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for waveform, words in itertools.chain(*pool.map(say, voices, [count] * len(voices))):
            text = " ".join(word.text for word in words)
            aligned = aligner.align_waveform(waveform, [script_line(1, text, bundle)]).transcript
            found = iter(aligned.segments[0].words)
            for word in words:  # some of espeak-ng's words, such as "on the", are several of ours
                parts = list(itertools.islice(found, len(word.text.split())))
                errors["starts"].append(parts[0].start - word.start)
                errors["ends"].append(parts[-1].end - word.end)
    return errors


def joined(split: str, size: int) -> dict[str, list[float]]:
    """Signed errors in seconds of starts and ends of AN4 utterances in recordings of `size` utterances.

    Where there are not so many, they come again in other orders.
    """
    bundle = Bundle.load(RECIPES / "an4" / "model")
    aligner = Aligner(bundle)
    rate = bundle.frontend.sample_rate
    rows = read_manifest(ROOT / "data" / "an4" / f"{split}.jsonl")
    errors: dict[str, list[float]] = {"starts": [], "ends": []}
    order = derive_rng("alignment", split).permutation(len(rows)).tolist()
    while len(order) < size:
        order += derive_rng("alignment", split, len(order)).permutation(len(rows)).tolist()
    for begin in range(0, len(order), size):
        group = [rows[index] for index in order[begin : begin + size]]
        pieces: list[np.ndarray] = []
        references = []
        start = 0.0
        for row in group:
            waveform = load_audio(row.audio, rate, start=row.start, duration=row.duration)
            references.append(tuple(start + moment for moment in loud_part(waveform, rate)))
            pieces += [waveform, np.zeros(round(GAP_SECONDS * rate), dtype=np.float32)]
            start += len(waveform) / rate + GAP_SECONDS
        lines = [script_line(number, row.text, bundle) for number, row in enumerate(group, start=1)]
        aligned = aligner.align_waveform(np.concatenate(pieces), lines).transcript
        for segment, (first, last) in zip(aligned.segments, references, strict=True):
            errors["starts"].append(segment.start - first)
            errors["ends"].append(segment.end - last)
    return errors


def loud_part(waveform: np.ndarray, rate: int) -> tuple[float, float]:
    """First and last moment of speech, as the module says."""
    values = loudness(waveform, rate)
    loud = values > np.percentile(values, (10, 95)).mean()
    steady = np.flatnonzero(np.convolve(loud, np.ones(10), "valid") >= 9)
    return float(steady[0] * HOP), float((steady[-1] + 10) * HOP)


def summary(errors: Sequence[float]) -> dict[str, Any]:
    """Milliseconds and shares."""
    signed = 1000 * np.asarray(errors)
    return {
        "words": len(signed),
        "median_ms": round(float(np.median(np.abs(signed))), 1),
        "mean_ms": round(float(np.mean(np.abs(signed))), 1),
        "bias_ms": round(float(np.median(signed)), 1),
        "within_40_ms": round(float(np.mean(np.abs(signed) <= 40)), 3),
        "within_80_ms": round(float(np.mean(np.abs(signed) <= 80)), 3),
    }


def rows_of(name: str, errors: dict[str, list[float]]) -> Iterator[dict[str, Any]]:
    """A row for starts, for ends and for both."""
    for kind, values in (*errors.items(), ("both", errors["starts"] + errors["ends"])):
        yield {"what": f"{name} {kind}", **summary(values)}


def main() -> None:
    """Print a table, and write JSON if asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("dev", "test"), default="test", help="voices and utterances [%(default)s]")
    parser.add_argument("--count", type=int, default=70, help="utterances of each voice [%(default)s]")
    parser.add_argument("--json", type=Path, help="write the numbers here, too")
    parser.add_argument("--group", type=int, default=5, help="utterances joined; 1000 make an hour [%(default)s]")
    parser.add_argument("--skip-joined", action="store_true", help="without AN4, which needs data/an4")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    speeds = {f"V={size}": round(speed(size), 3) for size in (50, 500)}
    rows = list(rows_of("synthesised", synthesis(arguments.split, arguments.count)))
    if not arguments.skip_joined:
        began = time.process_time()
        rows += rows_of("joined", joined(arguments.split, arguments.group))
        print(f"joined: {time.process_time() - began:.0f} s of CPU time, at most {peak_memory_mb():.0f} MB of memory")
    for name, milliseconds in speeds.items():
        print(f"T=500, L=100, {name}: {milliseconds} ms")
    print("".join(f"{key:>20}" if key == "what" else f"{key:>14}" for key in rows[0]))
    for row in rows:
        print("".join(f"{value:>20}" if key == "what" else f"{value:>14}" for key, value in row.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps({"split": arguments.split, "speed_ms": speeds, "errors": rows}, indent=2))


if __name__ == "__main__":
    main()
