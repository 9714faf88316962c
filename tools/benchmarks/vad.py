"""What the voice activity detectors find, what they find falsely, and how fast they are.

1. speed: times real time with one thread, beside Silero's published ONNX model called window by window;
2. joined: AN4 utterances of the training set's dev speakers, with gaps of 0.3 to 3 s, bare, in white noise and in
   steady sounds of ESC-10. "Found" is the share of frames above 0.5 inside words (aligned by the recipe's model),
   "false" that of frames inside the gaps; how an utterance begins and ends is not counted;
3. recordings: the share of frames above 0.5 in ESC-10 by class, where there is no speech, and in readings.
Needs data/an4 (recipes/an4/prepare.py) and onnxruntime (extra test).
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from asr.audio.io import load_audio, read_blocks
from asr.audio.vad import VADS, Vad
from asr.bundle.bundle import Bundle
from asr.data.manifest import read_manifest
from asr.system.runtime import derive_rng
from asr.transcribe.align.aligner import Aligner
from asr.transcribe.align.script import script_line
from tools.benchmarks.common import ROOT, alternate, machine, say, table

RATE = 16000
BLOCK = 10 * RATE
FRAME = 512  # samples
STEADY = ("rain", "sea_waves", "helicopter")


@dataclass(frozen=True)
class Join:
    """A recording of several utterances; what is neither word nor gap does not count."""

    waveform: np.ndarray
    words: np.ndarray  # frames, bool
    gaps: np.ndarray
    level: float  # root mean square inside words


def probabilities(vad: Vad, waveform: np.ndarray) -> np.ndarray:
    """Of all frames, given in blocks of ten seconds."""
    stream = vad.stream()
    blocks = [stream.push(waveform[start : start + BLOCK]) for start in range(0, len(waveform), BLOCK)]
    return np.concatenate([*blocks, stream.finish()])


class PublishedSilero:
    """silero_vad.onnx, one call a window."""

    def __init__(self) -> None:
        import onnxruntime

        spec = importlib.util.find_spec("silero_vad")
        assert spec is not None
        assert spec.origin is not None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = Path(spec.origin).parent / "data" / "silero_vad.onnx"
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        padded = np.pad(waveform, (64, -len(waveform) % FRAME))
        state = np.zeros((2, 1, 128), dtype=np.float32)
        found = np.empty((len(padded) - 64) // FRAME, dtype=np.float32)
        for frame in range(len(found)):
            window = padded[None, frame * FRAME : (frame + 1) * FRAME + 64]
            out, state = self._session.run(None, {"input": window, "state": state, "sr": np.array(RATE)})
            found[frame] = out.item()
        return found


def speed(vads: dict[str, Vad], waveform: np.ndarray, rounds: int) -> Iterator[list[str]]:
    """Median times real time, and the largest difference to the published model."""
    published = PublishedSilero()
    sides = {name: lambda vad=vad: probabilities(vad, waveform) for name, vad in vads.items()}
    sides["silero, published"] = lambda: published(waveform)
    answers: dict[str, np.ndarray] = {}

    def seconds(name: str) -> float:
        began = time.perf_counter()
        answers[name] = sides[name]()
        return time.perf_counter() - began

    names = list(sides)
    measured = alternate([lambda name=name: seconds(name) for name in names], rounds + 1)
    times = {name: np.array(values[1:]) for name, values in zip(names, measured, strict=True)}  # the first warms up
    for name in names:
        ratio = np.median(times["silero, published"] / times[name])
        differs = np.abs(answers[name] - answers["silero, published"]).max() if name == "silero" else None
        factor = len(waveform) / RATE / np.median(times[name])
        yield [name, f"{factor:.0f}", f"{ratio:.1f}", "" if differs is None else f"{differs:.1e}"]


def join_utterances(count: int) -> Join:
    """AN4 dev utterances with random gaps of digital silence between them."""
    bundle = Bundle.load(ROOT / "recipes" / "an4" / "model")
    aligner = Aligner(bundle)
    rng = derive_rng("vad", "join")
    pieces, words, gaps, place = [], [], [], 0
    rows = read_manifest(ROOT / "data" / "an4" / "dev.jsonl")
    for index in rng.permutation(len(rows))[:count]:
        waveform = load_audio(rows[index].audio, RATE)
        aligned = aligner.align_waveform(waveform, [script_line(1, rows[index].text, bundle)]).transcript
        words += [
            (place + word.start * RATE, place + word.end * RATE) for part in aligned.segments for word in part.words
        ]
        gap = round(rng.uniform(0.3, 3.0) * RATE)
        gaps.append((place + len(waveform), place + len(waveform) + gap))
        pieces += [waveform, np.zeros(gap, dtype=np.float32)]
        place = gaps[-1][1]
    joined = np.concatenate(pieces)
    said = np.concatenate([joined[int(start) : int(end)] for start, end in words])
    num_frames = -(-len(joined) // FRAME)
    return Join(joined, _inside(words, num_frames), _inside(gaps, num_frames), float(np.sqrt(np.mean(said**2))))


def _inside(stretches: list[tuple[float, float]], num_frames: int) -> np.ndarray:
    """Frames that lie in one of the stretches (samples) as a whole."""
    inside = np.zeros(num_frames, dtype=bool)
    for start, end in stretches:
        inside[int(-(-start // FRAME)) : int(end // FRAME)] = True
    return inside


def conditions(join: Join, esc10: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and waveforms: the join under noise at some signal-to-noise ratios in dB, and quieter."""
    length = len(join.waveform)
    noises = {"white": derive_rng("vad", "white").standard_normal(length)}
    for name in STEADY:
        clips = [load_audio(path, RATE) for path in sorted((esc10 / name).glob("*.ogg"))]
        noises[name] = np.resize(np.concatenate([clip / np.sqrt(np.mean(clip**2)) for clip in clips]), length)
    yield "digital silence between", join.waveform
    yield "the same, 30 dB quieter", join.waveform * np.float32(10 ** (-30 / 20))
    for name, noise in noises.items():
        for snr in (40, 25, 15) if name == "white" else (15, 5):
            sound = noise * join.level * 10 ** (-snr / 20) / np.sqrt(np.mean(noise**2))
            yield f"{name}, {snr} dB", (join.waveform + sound).astype(np.float32)


def recordings(corpora: Path) -> Iterator[tuple[str, list[Path]]]:
    """Names and files."""
    for folder in sorted(path for path in (corpora / "esc10").iterdir() if path.is_dir()):
        yield f"esc10 {folder.name}", sorted(folder.glob("*.ogg"))
    yield "ljspeech_tail", sorted((corpora / "ljspeech_tail" / "wavs").glob("*.opus"))
    yield from ((f"longform {path.stem}", [path]) for path in sorted((corpora / "longform").glob("*.mp3")))


def share_of_speech(vad: Vad, files: list[Path]) -> float:
    """Of the frames of all files."""
    found = [probabilities(vad, np.concatenate(list(read_blocks(path, RATE)))) > 0.5 for path in files]
    return float(np.concatenate(found).mean())


def main() -> None:
    """Print three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, default=ROOT.parent / "shared" / "corpora", help="[%(default)s]")
    parser.add_argument("--utterances", type=int, default=130, help="of AN4 to join [%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="of the measurement of speed [%(default)s]")
    arguments = parser.parse_args()
    if importlib.util.find_spec("onnxruntime") is None:
        sys.exit("error: the published model needs onnxruntime; .venv/bin/pip install -c constraints.txt onnxruntime")
    torch.set_num_threads(1)
    vads = {name: VADS.part(name)(VADS.config(name)(), RATE) for name in VADS.names()}

    sonnet = load_audio(arguments.corpora / "longform" / "sonnet_p001.mp3", RATE)
    print(table(["", "x real time", "x published", "difference"], list(speed(vads, sonnet, arguments.rounds))))
    say(f"{machine()}")

    join = join_utterances(arguments.utterances)
    rows = []
    for name, waveform in conditions(join, arguments.corpora / "esc10"):
        marked = [probabilities(vad, waveform) > 0.5 for vad in vads.values()]
        shares = [share for found in marked for share in (found[join.words].mean(), found[join.gaps].mean())]
        rows.append([name, *(f"{100 * share:.1f}" for share in shares)])
    heads = [f"{name} {what} %" for name in vads for what in ("found", "false")]
    print("\n" + table(["AN4 dev, joined", *heads], rows))

    rows = [
        [name, *(f"{100 * share_of_speech(vad, files):.1f}" for vad in vads.values())]
        for name, files in recordings(arguments.corpora)
    ]
    print("\n" + table(["frames above 0.5", *(f"{name} %" for name in vads)], rows))


if __name__ == "__main__":
    main()
