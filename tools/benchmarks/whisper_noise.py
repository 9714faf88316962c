"""Words that Whisper writes where nobody speaks, by our engine and by faster-whisper with the same weights.

Sounds: `silence`, digital zeros; `esc10`, clips 6 to 10 of each class of ESC-10 over and over, each time in another
order (constants were chosen on clips 1 to 5). faster-whisper hears the same file with its detector (`vad_filter`), and
the first --bare minutes of it also without, as it runs by default. Both are told English.
Targets: no word of an hour of silence, four of ESC-10.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from asr.audio.io import load_audio
from asr.bundle.foreign import import_model
from asr.system.runtime import derive_rng
from tools.benchmarks.common import ROOT, Worker, finish, machine, peer_python, say, table

PEERS = "whisper"
RATE = 16000
FROM_CLIP = 5  # of each class, in order of their names
SOUNDS = {"silence": 0, "esc10": 4}  # with the words an hour that are allowed
SHOWN = 60  # characters


def blocks(sound: str, corpora: Path) -> Iterator[np.ndarray]:
    """Samples without end."""
    if sound == "silence":
        while True:
            yield np.zeros(60 * RATE, dtype=np.float32)
    classes = sorted(path for path in (corpora / "esc10").iterdir() if path.is_dir())
    clips = [clip for folder in classes for clip in sorted(folder.iterdir())[FROM_CLIP:]]
    rng = derive_rng("whisper_noise")
    while True:
        for index in rng.permutation(len(clips)).tolist():
            yield load_audio(clips[index], RATE)


def write(sound: str, corpora: Path, minutes: float, path: Path) -> Path:
    """A file of so many minutes."""
    left = round(60 * minutes * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for block in blocks(sound, corpora):
            file.write(block[:left])
            left -= len(block[:left])
            if not left:
                return path
    raise AssertionError("blocks come without end")


def shown(text: str) -> str:
    """Few enough words to be seen."""
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", nargs="*", help=f"of {', '.join(SOUNDS)} [all]")
    parser.add_argument("--model", choices=("tiny.en", "base"), default="base", help="[%(default)s]")
    parser.add_argument("--minutes", type=float, default=60.0, help="[%(default)s]")
    parser.add_argument("--bare", type=float, default=3.0, help="minutes without the peer's detector [%(default)s]")
    parser.add_argument("--compute-type", default="int8", help="of faster-whisper [%(default)s]")
    parser.add_argument("--dtype", default="auto", help="of ours [%(default)s]")
    parser.add_argument("--threads", type=int, default=1, help="[%(default)s]")
    parser.add_argument("--work", type=Path, required=True, help="folder for sounds and weights")
    parser.add_argument("--corpora", type=Path, default=ROOT.parent / "shared" / "corpora", help="[%(default)s]")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    arguments = parser.parse_args()
    work, threads = arguments.work / arguments.model, arguments.threads
    work.mkdir(parents=True, exist_ok=True)
    env = {"OMP_NUM_THREADS": str(threads)}
    rows, targets = [], {}
    with (
        Worker("tools.benchmarks.whisper_peer", peer_python(PEERS), env) as peer,
        Worker("tools.benchmarks.whisper_ours", env=env) as ours,
    ):
        weights, model = work / "weights", work / "model"
        if not model.exists():
            peer.ask("weights", name=arguments.model, out=str(weights))
            import_model(weights, model)
        ours.ask("load", model=str(model), dtype=arguments.dtype, threads=threads)
        peer.ask("load", model=str(weights), compute_type=arguments.compute_type, threads=threads)
        for sound in arguments.sounds or SOUNDS:
            path = write(sound, arguments.corpora, arguments.minutes, arguments.work / f"{sound}.wav")
            short = write(sound, arguments.corpora, arguments.bare, arguments.work / f"{sound}_short.wav")
            runs = {
                "ours": (arguments.minutes, lambda path=path: ours.ask("transcribe", files=[str(path)], language="en")),
                "faster-whisper, its detector": (
                    arguments.minutes,
                    lambda path=path: peer.ask("transcribe", files=[str(path)], language="en", vad=True),
                ),
                "faster-whisper": (
                    arguments.bare,
                    lambda path=short: peer.ask("transcribe", files=[str(path)], language="en"),
                ),
            }
            for name, (minutes, run) in runs.items():
                answer = run()
                (text,) = answer["texts"]
                words = len(text.split())
                rows.append([f"{sound}, {name}", f"{minutes:g}", str(words), f"{answer['cpu']:.0f}", shown(text)])
                say("  ".join(rows[-1]))
                if name == "ours":
                    allowed = SOUNDS[sound] * minutes / 60
                    targets[f"{sound}: at most {SOUNDS[sound]} words an hour"] = words <= allowed
    print(table(["sound", "minutes", "words", "CPU s", "text"], rows))
    say(f"{arguments.model}; {machine()}; faster-whisper {arguments.compute_type}, ours {arguments.dtype}")
    return finish(targets, arguments.check)


if __name__ == "__main__":
    sys.exit(main())
