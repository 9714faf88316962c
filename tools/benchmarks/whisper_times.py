"""Where Whisper's segments and words are in an hour of speech: errors that grow would show.

1. segments: utterances of librispeech_pieces, joined with pauses of silence between them. Each should begin with
   a segment; how far off that is from the first moment at which the utterance is loud (tools/benchmarks/alignment.py).
   A segment belongs to the utterance in which its middle lies; one without a segment is counted as missing.
2. words: AN4's test utterances joined the same way, again in another order until it is long enough. Starts of the words
   that were heard right, against the alignment of the transcript of the single utterance by the AN4 recipe's CTC model.
Targets: medians of 80 and 100 ms at most, also of the last sixth. Long pauses make a long recording of little speech.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import soundfile

from asr.audio.io import load_audio
from asr.bundle.bundle import Bundle
from asr.system.runtime import derive_rng
from asr.transcribe.align.aligner import Aligner
from asr.transcribe.align.script import script_line
from asr.transcribe.recognizer import Recognizer
from asr.transcribe.requests import RequestOptions
from asr.types import Segment, Utterance, Word
from tools.benchmarks.alignment import loud_part
from tools.benchmarks.common import ROOT, finish, machine, say, table
from tools.benchmarks.whisper_sets import corpus_sets

RATE = 16000
SEGMENTS, WORDS = "starts of segments", "starts of words"
TARGETS = {SEGMENTS: 0.08, WORDS: 0.1}  # seconds
PARTS = 6  # of the recording, of which the first and the last are shown


@dataclass(frozen=True)
class Placed:
    """An utterance in the recording."""

    utterance: Utterance
    waveform: np.ndarray  # (num_samples,) float32
    start: float  # seconds into the recording

    @property
    def end(self) -> float:
        """Seconds into the recording."""
        return self.start + len(self.waveform) / RATE


def join(utterances: Sequence[Utterance], seconds: float, pauses: Sequence[float], path: Path) -> list[Placed]:
    """A file of so many seconds at most, and where its utterances are; pauses are as long as two limits say."""
    rng = derive_rng("whisper_times", path.stem)
    placed: list[Placed] = []
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        while True:
            for index in rng.permutation(len(utterances)).tolist():
                file.write(np.zeros(round(rng.uniform(*pauses) * RATE)))
                own = utterances[index]
                waveform = load_audio(own.audio, RATE, start=own.start, duration=own.duration)
                if file.tell() + len(waveform) > seconds * RATE:
                    return placed
                placed.append(Placed(own, waveform, file.tell() / RATE))
                file.write(waveform)


def transcribed(recognizer: Recognizer, path: Path) -> tuple[Segment, ...]:
    """All segments of a file."""
    return recognizer.engine.submit(path, RequestOptions(language="en")).result().segments


def segment_errors(placed: Sequence[Placed], segments: Sequence[Segment]) -> Iterator[tuple[float, float | None]]:
    """When each utterance begins, and how far off its first segment is; None without any."""
    for one in placed:
        begins = one.start + loud_part(one.waveform, RATE)[0]
        own = [segment for segment in segments if one.start <= (segment.start + segment.end) / 2 <= one.end]
        yield begins, min(segment.start for segment in own) - begins if own else None


def word_errors(
    placed: Sequence[Placed], segments: Sequence[Segment], aligner: Aligner, bundle: Bundle
) -> Iterator[tuple[float, float | None]]:
    """When each word begins that was heard right, and how far off it is; None for the others."""
    words = [word for segment in segments for word in segment.words]
    known: dict[str, list[Word]] = {}
    for one in placed:
        if one.utterance.id not in known:
            lines = [script_line(1, one.utterance.text, bundle)]
            aligned = aligner.align_waveform(one.waveform, lines).transcript.segments
            known[one.utterance.id] = [word for segment in aligned for word in segment.words]
        spoken = known[one.utterance.id]
        heard = [word for word in words if one.start <= (word.start + word.end) / 2 <= one.end]
        right = {}
        for block in SequenceMatcher(None, bare(spoken), bare(heard), autojunk=False).get_matching_blocks():
            right |= {block.a + place: heard[block.b + place] for place in range(block.size)}
        for place, word in enumerate(spoken):
            begins = one.start + word.start
            yield begins, right[place].start - begins if place in right else None


def bare(words: Sequence[Word]) -> list[str]:
    """Words without case and marks."""
    return [re.sub(r"[^a-z0-9']", "", word.text.lower()) for word in words]


def row(name: str, errors: Sequence[tuple[float, float | None]], seconds: float) -> tuple[list[str], dict[str, float]]:
    """A line of the table, and what targets need."""
    found = [(begins, error) for begins, error in errors if error is not None]
    part = seconds / PARTS
    spans = {"all": (0.0, seconds), "first": (0.0, part), "last": (seconds - part, seconds)}
    medians = {
        label: statistics.median([abs(error) for begins, error in found if low <= begins <= high])
        for label, (low, high) in spans.items()
    }
    most = float(np.quantile([abs(error) for _, error in found], 0.9))
    bias = statistics.median([error for _, error in found])
    counts = [f"{len(found)} of {len(errors)}"]
    return [name, *counts, *(f"{1000 * value:.0f}" for value in (*medians.values(), most, bias))], medians


def main() -> int:
    """Print a table in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="whisper-tiny.en", help="folder or name [%(default)s]")
    parser.add_argument("--minutes", type=float, default=60.0, help="of each recording [%(default)s]")
    parser.add_argument("--pauses", type=float, nargs=2, default=(0.8, 2.5), help="seconds, from and up to [0.8 2.5]")
    parser.add_argument("--parts", default="segments,words", help="with commas [%(default)s]")
    parser.add_argument("--dtype", default="auto", help="[%(default)s]")
    parser.add_argument("--work", type=Path, required=True, help="folder for the recordings")
    parser.add_argument("--corpora", type=Path, default=ROOT.parent / "shared" / "corpora", help="[%(default)s]")
    parser.add_argument("--json", type=Path, help="write all errors here")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    sets = corpus_sets(arguments.corpora, arguments.work)
    recognizer = Recognizer.load(arguments.model, "cpu", arguments.dtype)
    seconds = 60 * arguments.minutes
    rows, targets, kept = [], {}, {}
    for part in arguments.parts.split(","):
        chosen, name = ("librispeech_pieces", SEGMENTS) if part == "segments" else ("an4", WORDS)
        path = arguments.work / f"{chosen}_{arguments.minutes:g}.wav"
        placed = join(sets[chosen].utterances, seconds, arguments.pauses, path)
        segments = transcribed(recognizer, path)
        if part == "segments":
            errors = list(segment_errors(placed, segments))
        else:
            bundle = Bundle.load(ROOT / "recipes" / "an4" / "model")
            errors = list(word_errors(placed, segments, Aligner(bundle), bundle))
        line, medians = row(name, errors, seconds)
        rows.append(line)
        kept[name] = errors
        for label in ("all", "last"):
            targets[f"{name}, {label}: {1000 * TARGETS[name]:.0f} ms"] = medians[label] <= TARGETS[name]
        say(f"{name}: done")
    print(table(["ms", "found", "median", "first sixth", "last sixth", "90 %", "bias"], rows))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(kept) + "\n", encoding="utf-8")
    say(f"{arguments.model}, {recognizer.dtype}; {machine()}")
    return finish(targets, arguments.check)


if __name__ == "__main__":
    sys.exit(main())
