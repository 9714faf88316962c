"""Manifests of the Free Spoken Digit Dataset, one speaker left out at a time: isolated digits and connected strings.

OUT/{isolated,connected,mixed}/SPEAKER/{train,dev,test}.jsonl: SPEAKER is tested; recordings 0 to 4 of each digit (the
corpus's own test part) of the others are for dev, the rest for training. OUT/{train,dev,test}.jsonl repeats the
isolated fold of the last speaker. A connected string is 3 to 7 recordings of one speaker and one part with short
pauses between, written to OUT/wav; each round over a part uses each of its recordings once. There are four rounds
for training and dev, one for test. Mixed is both kinds together.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.audio.io import load_audio, write_wav
from asr.corpora.recipe import Source, Splits, audio_utterance, run_recipe, write_splits
from asr.errors import AsrError
from asr.system.runtime import derive_rng
from asr.types import Utterance

SOURCE = Source(
    name="FSDD",
    marker="recordings",
    url="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz",
    folder="free-spoken-digit-dataset-1.0.10",
    sha256=None,
)
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<number>\d+)")
NUM_RECORDINGS = 50  # of each digit by each speaker
NUM_DEV = 5
ROUNDS = 4
SAMPLE_RATE = 8000
SEED = 1


@dataclass(frozen=True)
class Speaker:
    """What one speaker offers of one kind; no recording is in both parts."""

    train: tuple[Utterance, ...]
    dev: tuple[Utterance, ...]
    test: tuple[Utterance, ...]  # of both parts, used when the speaker is left out

    def __add__(self, other: Speaker) -> Speaker:
        return Speaker(self.train + other.train, self.dev + other.dev, self.test + other.test)


def read_recordings(folder: Path) -> dict[str, list[Utterance]]:
    """The recordings of each speaker by digit and number; AsrError if one is missing or a name is odd."""
    found: dict[str, dict[tuple[int, int], Utterance]] = defaultdict(dict)
    for path in folder.glob("*.wav"):
        match = NAME.fullmatch(path.stem)
        if match is None:
            raise AsrError(f"{path}: expected a name like 7_jackson_32.wav; remove or rename it")
        key = int(match["digit"]), int(match["number"])
        found[match["speaker"]][key] = audio_utterance(path.stem, path, WORDS[key[0]], match["speaker"])
    if len(found) < 2:
        raise AsrError(f"{folder}: recordings of {len(found)} speakers, 2 or more are needed; fetch {SOURCE.url}")
    expected = [(digit, number) for digit in range(len(WORDS)) for number in range(NUM_RECORDINGS)]
    for speaker, recordings in found.items():
        if sorted(recordings) != expected:
            missing = sorted(set(expected) - recordings.keys())
            example = "{0}_{2}_{1}.wav".format(*(missing or [max(recordings)])[0], speaker)
            problem = "is missing" if missing else "is one too many"
            raise AsrError(f"{folder}: {example} {problem}; fetch {SOURCE.url} again")
    return {speaker: [found[speaker][key] for key in expected] for speaker in sorted(found)}


def split_parts(recordings: Sequence[Utterance]) -> tuple[list[Utterance], list[Utterance]]:
    """Recordings for training and those for dev."""
    is_dev = [int(utterance.id.rsplit("_", 1)[1]) < NUM_DEV for utterance in recordings]
    pairs = list(zip(recordings, is_dev, strict=True))
    return [utterance for utterance, dev in pairs if not dev], [utterance for utterance, dev in pairs if dev]


def draw_strings(recordings: Sequence[Utterance], rng: np.random.Generator) -> Iterator[list[Utterance]]:
    """Cut all recordings, shuffled, into strings of 3 to 7."""
    order = [recordings[index] for index in rng.permutation(len(recordings))]
    while order:
        length = int(rng.integers(3, 8))
        if len(order) - length < 3:  # too few would be left for another string
            length = len(order) if len(order) <= 7 else len(order) - 3
        yield order[:length]
        order = order[length:]


def connect(recordings: Sequence[Utterance], path: Path, rng: np.random.Generator) -> Utterance:
    """Write the recordings one after another with pauses of 20 to 250 ms, as one utterance named after the file."""
    pieces = [pause(rng)]
    for recording in recordings:
        pieces += [load_audio(recording.audio, SAMPLE_RATE), pause(rng)]
    write_wav(path, np.concatenate(pieces), SAMPLE_RATE)
    text = " ".join(recording.text for recording in recordings)
    return audio_utterance(path.stem, path, text, recordings[0].speaker or "")


def pause(rng: np.random.Generator) -> np.ndarray:
    """Silence of 20 to 250 ms with a noise of three quantisation steps: real recordings never hold digital zeros."""
    return (1e-4 * rng.standard_normal(rng.integers(SAMPLE_RATE // 50, SAMPLE_RATE // 4))).astype(np.float32)


def connected_speaker(train: Sequence[Utterance], dev: Sequence[Utterance], folder: Path) -> Speaker:
    """The strings of one speaker, written into `folder`; those of the first round serve as test."""
    strings: dict[str, list[Utterance]] = {"train": [], "dev": []}
    test: list[Utterance] = []
    for part, recordings in (("train", train), ("dev", dev)):
        for round in range(ROUNDS):
            rng = derive_rng(SEED, round, f"{folder.name}-{part}", "strings")
            made = [
                connect(string, folder / f"{folder.name}-{part}-{round}-{number:03d}.wav", rng)
                for number, string in enumerate(draw_strings(recordings, rng))
            ]
            strings[part] += made
            test += made if round == 0 else []
    return Speaker(tuple(strings["train"]), tuple(strings["dev"]), tuple(test))


def leave_out(tested: str, speakers: dict[str, Speaker]) -> Splits:
    """The fold that tests one speaker and learns from the others."""
    others = [speaker for name, speaker in speakers.items() if name != tested]
    return {
        "train": [utterance for speaker in others for utterance in speaker.train],
        "dev": [utterance for speaker in others for utterance in speaker.dev],
        "test": speakers[tested].test,
    }


def prepare(corpus: Path, out: Path) -> None:
    """Write the audio of the connected strings and the manifests of every fold of both kinds."""
    kinds: dict[str, dict[str, Speaker]] = {"isolated": {}, "connected": {}}
    for name, recordings in read_recordings(corpus / SOURCE.marker).items():
        train, dev = split_parts(recordings)
        kinds["isolated"][name] = Speaker(tuple(train), tuple(dev), tuple(recordings))
        kinds["connected"][name] = connected_speaker(train, dev, out / "wav" / name)
    kinds["mixed"] = {name: kinds["isolated"][name] + kinds["connected"][name] for name in kinds["isolated"]}
    for kind, speakers in kinds.items():
        for name in speakers:
            write_splits(out / kind / name, leave_out(name, speakers))
    isolated = kinds["isolated"]
    write_splits(out, leave_out(max(isolated), isolated))


if __name__ == "__main__":
    sys.exit(run_recipe(prepare, SOURCE, __doc__ or ""))
