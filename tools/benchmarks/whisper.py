"""Whisper by our engine and by faster-whisper: the same weights, the same files, in turn.

short   clips of 5 to 12 s, 1 thread: CPU seconds for each second of audio, word error rate, peak memory
long    one reading, 2 threads: times real time by the wall clock; faster-whisper in both of its modes
batch   the share of clips whose text is another one when they are recognised alone
memory  the most that a process holds for three hours in one go
small   random weights of the size of Whisper small that write 40 tokens a window: CPU seconds, 16 clips

faster-whisper runs with its defaults but for the beam of 1: timestamps (not in its batched mode, by default),
temperature fallback, no detector (its batched mode has one). Ours runs as `asr transcribe` does. Texts are scored as
whisper-normalizer's English writes them. "Less torch" is the peak without what `import torch` alone holds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from asr.audio.io import load_audio
from asr.bundle.foreign import import_model
from asr.scoring.wer import score
from tools.benchmarks.common import ROOT, Worker, alternate, finish, machine, peer_python, say, table
from tools.benchmarks.whisper_random import write_random_model

PEERS = "whisper"
RATE = 16000
SHORT_SECONDS = (5.0, 12.0)
SLICE = 100  # clips that one side is given before it is the other's turn
MAX_MORE_ERRORS = 0.003
MAX_CHANGED = 0.005
MAX_MEMORY_MB = 1500.0
PARTS = ("short", "long", "batch", "memory", "small")

Side = tuple[str, Worker, dict[str, Any]]  # name, process, arguments of its job


class Bench:
    """What the parts share: weights in both layouts, files, and how results are put."""

    def __init__(self, weights: Path, model: Path, arguments: argparse.Namespace) -> None:
        self.weights, self.model = weights, model
        self.arguments = arguments
        self.results: dict[str, Any] = {"machine": machine(), "weights": str(weights), "parts": {}}
        self.targets: dict[str, bool] = {}
        corpus = arguments.corpora / "librispeech_pieces"
        texts = dict(line.split(maxsplit=1) for line in (corpus / "text").read_text().splitlines())
        files = dict(line.split(maxsplit=1) for line in (corpus / "wav.scp").read_text().splitlines())
        short = [
            name
            for name, file in files.items()
            if SHORT_SECONDS[0] <= soundfile.info(corpus / file).duration <= SHORT_SECONDS[1]
        ]
        self.clips = [str(corpus / files[name]) for name in short[: arguments.clips]]
        self.texts = [texts[name] for name in short[: arguments.clips]]

    @property
    def dtypes(self) -> list[str]:
        """Those that ours runs in; targets are for the first."""
        return str(self.arguments.dtypes).split(",")

    def ours(self, threads: int, dtype: str | None = None) -> Worker:
        """A process with our engine."""
        dtype = dtype or self.dtypes[0]
        worker = Worker("tools.benchmarks.whisper_ours", env={"OMP_NUM_THREADS": str(threads)})
        self.results["ours"] = worker.ask("load", model=str(self.model), dtype=dtype, threads=threads)
        return worker

    def peer(self, threads: int) -> Worker:
        """A process with faster-whisper."""
        worker = peer_worker(threads)
        kind = self.arguments.compute_type
        self.results["peer"] = worker.ask("load", model=str(self.weights), compute_type=kind, threads=threads)
        return worker

    def run(self, sides: Sequence[Side], slices: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        """The answers of all sides, which take turns slice by slice, summed."""
        language = self.arguments.language
        for _, worker, more in sides:  # what is compiled or set up on first use
            worker.ask("transcribe", files=slices[0][:1], language=language, **more)
        parts: list[list[dict[str, Any]]] = [[] for _ in sides]
        for number, files in enumerate(slices):
            say(f"slice {number + 1} of {len(slices)}: {', '.join(name for name, _, _ in sides)}")
            calls: list[Callable[[], Any]] = [
                partial(worker.ask, "transcribe", files=files, language=language, **more) for _, worker, more in sides
            ]
            for own, (answer,) in zip(parts, alternate(calls, 1), strict=True):
                own.append(answer)
        return [
            {
                "texts": [text for answer in own for text in answer["texts"]],
                "cpu": sum(answer["cpu"] for answer in own),
                "wall": sum(answer["wall"] for answer in own),
            }
            for own in parts
        ]

    def errors(self, texts: Sequence[str], references: Sequence[str]) -> float:
        """Word error rate under Whisper's normaliser."""
        with peer_worker(1) as worker:
            wanted, written = worker.ask("normalize", texts=references), worker.ask("normalize", texts=texts)
        places = [str(place) for place in range(len(wanted))]
        found = score(dict(zip(places, wanted, strict=True)), dict(zip(places, written, strict=True)))
        return float(found.words.rate or 0.0)


def peer_worker(threads: int) -> Worker:
    """A process of the peer's environment."""
    return Worker("tools.benchmarks.whisper_peer", peer_python(PEERS), env={"OMP_NUM_THREADS": str(threads)})


def seconds_of(files: Sequence[str]) -> float:
    """Of all files together."""
    return sum(soundfile.info(file).duration for file in files)


def short(bench: Bench) -> None:
    """See the module."""
    seconds = seconds_of(bench.clips)
    slices = [bench.clips[start : start + SLICE] for start in range(0, len(bench.clips), SLICE)]
    with ExitStack() as stack:
        sides: list[Side] = [("faster-whisper", stack.enter_context(bench.peer(1)), {})]
        sides += [(f"ours, {dtype}", stack.enter_context(bench.ours(1, dtype)), {}) for dtype in bench.dtypes]
        answers = bench.run(sides, slices)
        memory = [worker.ask("memory") for _, worker, _ in sides]
    rows, found = [], {}
    for (name, _, _), answer, held in zip(sides, answers, memory, strict=True):
        peak, torch = (held["peak"], held["torch"]) if isinstance(held, dict) else (held, 0.0)
        own = {"cpu": answer["cpu"] / seconds, "wall": answer["wall"] / seconds, "peak_mb": peak, "torch_mb": torch}
        found[name] = own | {"wer": bench.errors(answer["texts"], bench.texts)}
        ratio = found["faster-whisper"]["cpu"] / own["cpu"]
        rows.append(
            [
                name,
                f"{own['cpu']:.4f}",
                f"{ratio:.2f}",
                f"{own['wall']:.4f}",
                f"{100 * found[name]['wer']:.2f}",
                f"{peak:.0f}",
                f"{peak - torch:.0f}",
            ]
        )
    head = ["", "CPU-s per audio-s", "times", "wall RTF", "WER %", "peak MB", "less torch"]
    print(f"\n{len(bench.clips)} clips, {seconds:.0f} s, 1 thread\n{table(head, rows)}")
    bench.results["parts"]["short"] = found
    peer_found, ours = found["faster-whisper"], found[f"ours, {bench.dtypes[0]}"]
    bench.targets["short clips: half of faster-whisper's CPU seconds"] = ours["cpu"] <= peer_found["cpu"] / 2
    bench.targets["short clips: WER within 0.3 points"] = ours["wer"] <= peer_found["wer"] + MAX_MORE_ERRORS
    held = ours["peak_mb"] - ours["torch_mb"]
    bench.targets["short clips: memory at most faster-whisper's"] = held <= peer_found["peak_mb"]


def long(bench: Bench, folder: Path) -> None:
    """See the module."""
    clips = bench.arguments.corpora / "ljspeech_tail"
    lines = [line.split("|") for line in (clips / "metadata.csv").read_text().splitlines()]
    chosen = [(name, text) for name, _, text in lines if name.startswith("LJ002")]
    chosen = chosen[: bench.arguments.utterances]
    reading = folder / "reading.wav"
    soundfile.write(
        reading, np.concatenate([load_audio(clips / "wavs" / f"{name}.opus", RATE) for name, _ in chosen]), RATE
    )
    seconds = seconds_of([str(reading)])
    with bench.peer(2) as peer, bench.ours(2) as own:
        sides: list[Side] = [
            ("faster-whisper, sequential", peer, {}),
            ("faster-whisper, batched", peer, {"batched": True}),
            ("ours", own, {}),
        ]
        answers = bench.run(sides, [[str(reading)]] * bench.arguments.rounds)
    reference = " ".join(text for _, text in chosen)
    times = [seconds * bench.arguments.rounds / answer["wall"] for answer in answers]
    best = max(times[:2])
    rows, found = [], {}
    for (name, _, _), answer, rate in zip(sides, answers, times, strict=True):
        wer = bench.errors(answer["texts"][:1], [reference])
        cpu = answer["cpu"] / seconds / bench.arguments.rounds
        found[name] = {"times_real_time": rate, "cpu": cpu, "wer": wer}
        rows.append([name, f"{rate:.1f}", f"{rate / best:.2f}", f"{cpu:.4f}", f"{100 * wer:.2f}"])
    head = ["", "times real time", "of the better peer", "CPU-s per audio-s", "WER %"]
    print(f"\none reading, {seconds / 60:.1f} minutes, 2 threads\n{table(head, rows)}")
    bench.results["parts"]["long"] = found
    bench.targets["long reading: 1.5 times the better of faster-whisper's modes"] = times[2] >= 1.5 * best


def batch(bench: Bench) -> None:
    """See the module."""
    language = bench.arguments.language
    with bench.ours(1) as worker:
        together = worker.ask("transcribe", files=bench.clips, language=language)["texts"]
        alone = worker.ask("transcribe", files=bench.clips, language=language, alone=True)["texts"]
    share = sum(one != other for one, other in zip(together, alone, strict=True)) / len(bench.clips)
    print(f"\n{100 * share:.2f} % of {len(bench.clips)} clips have another text alone than in their batches")
    bench.results["parts"]["batch"] = {"changed": share}
    bench.targets["at most 0.5 % of texts depend on the batch"] = share <= MAX_CHANGED


def memory(bench: Bench, folder: Path) -> None:
    """See the module."""
    recording = folder / "three_hours.wav"
    waveforms = [load_audio(file, RATE) for file in bench.clips]
    left = int(3 * 3600 * RATE * bench.arguments.hours / 3)
    with soundfile.SoundFile(recording, "w", RATE, 1, "PCM_16") as file:
        place = 0
        while left > 0:
            file.write(waveforms[place % len(waveforms)][:left])
            left -= len(waveforms[place % len(waveforms)])
            place += 1
    with bench.ours(1) as worker:
        answer = worker.ask("transcribe", files=[str(recording)], language=bench.arguments.language)
        held = worker.ask("memory")
    hours = f"{bench.arguments.hours:g} hours in one go"
    print(
        f"\n{hours}: {held['peak']:.0f} MB at most, {answer['cpu'] / 3600 / bench.arguments.hours:.4f} CPU-s a second"
    )
    bench.results["parts"]["memory"] = {"peak_mb": held["peak"]}
    bench.targets[f"{hours} in {MAX_MEMORY_MB:.0f} MB"] = held["peak"] <= MAX_MEMORY_MB


def small(bench: Bench, folder: Path) -> None:
    """See the module."""
    weights = write_random_model(folder / "small-ct2", bench.weights, dim=768, layers=12)
    import_model(weights, folder / "small")
    other = Bench(weights, folder / "small", bench.arguments)
    clips = bench.clips[:16]
    seconds = seconds_of(clips)
    with other.peer(1) as peer, other.ours(1) as own:
        answers = other.run([("faster-whisper", peer, {}), ("ours", own, {})], [clips])
    theirs, ours = (answer["cpu"] / seconds for answer in answers)
    same = sum(one == two for one, two in zip(*(answer["texts"] for answer in answers), strict=True))
    print(
        f"\nrandom weights, as large as small, {len(clips)} clips: faster-whisper {theirs:.4f}, ours {ours:.4f} CPU-s "
        f"per audio-s, {theirs / ours:.2f} times as fast; {same} texts are the same"
    )
    bench.results["parts"]["small"] = {"faster-whisper": theirs, "ours": ours}
    bench.targets["small: half of faster-whisper's CPU seconds"] = ours <= theirs / 2


def main() -> int:
    """Print tables, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", choices=("tiny.en", "base"), default="tiny.en", help="weights that come with the peers"
    )
    parser.add_argument("--weights", type=Path, help="a folder of CTranslate2 in place of these")
    parser.add_argument("--parts", default="short,long,batch", help=f"of {','.join(PARTS)} [%(default)s]")
    parser.add_argument("--clips", type=int, default=300, help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=1, help="of the long reading [%(default)s]")
    parser.add_argument("--utterances", type=int, help="of the long reading; all by default")
    parser.add_argument("--hours", type=float, default=3.0, help="of the part memory [%(default)s]")
    parser.add_argument("--language", default="en", help="[%(default)s]")
    parser.add_argument("--compute-type", default="int8", help="of faster-whisper [%(default)s]")
    parser.add_argument("--dtypes", default="auto,float32", help="of ours, with commas; the first counts [%(default)s]")
    parser.add_argument("--corpora", type=Path, default=ROOT.parent / "shared" / "corpora", help="[%(default)s]")
    parser.add_argument("--json", type=Path, help="write results here")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    if unknown := sorted(set(parts) - set(PARTS)):
        parser.error(f"no part '{unknown[0]}'; there are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        weights = arguments.weights
        if weights is None:
            with peer_worker(1) as worker:
                weights = Path(worker.ask("weights", name=arguments.model, out=str(folder / "weights")))
        import_model(weights, folder / "model")
        bench = Bench(weights, folder / "model", arguments)
        run: dict[str, Callable[[], None]] = {
            "short": partial(short, bench),
            "long": partial(long, bench, folder),
            "batch": partial(batch, bench),
            "memory": partial(memory, bench, folder),
            "small": partial(small, bench, folder),
        }
        for part in parts:
            run[part]()
    say(f"{bench.results['machine']}; ours {bench.results.get('ours')}; peer {bench.results.get('peer')}")
    if arguments.json:
        arguments.json.write_text(json.dumps(bench.results, indent=2) + "\n")
    return finish(bench.targets, arguments.check)


if __name__ == "__main__":
    sys.exit(main())
