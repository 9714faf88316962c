"""Manifests of yesno (OpenSLR 1): one man says eight Hebrew words a recording, each "ken" (YES) or "lo" (NO).

As in Kaldi's recipe the first 31 recordings by name are for training and the other 29 for test; every sixth of the 31
goes to dev. Sorted by name means that every training recording begins with NO and nearly every test recording with YES.
A model that learns this as a rule fails, so training and dev also hold the recordings' parts before and after pauses.
The recordings were cut out of a longer one, and some hold a scrap of the next word. So does every second part.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from asr.audio.io import load_audio
from asr.corpora.recipe import Source, audio_utterance, run_recipe, write_splits
from asr.errors import AsrError
from asr.types import Utterance

SOURCE = Source(
    name="yesno",
    marker="waves_yesno",
    url="https://www.openslr.org/resources/1/waves_yesno.tar.gz",
    folder=".",
    sha256="c3f49e0cca421f96b75b41640749167b52118f232498667ca7a5f9416aef8e73",
)
WORDS = {"0": "NO", "1": "YES"}
NUM_RECORDINGS, NUM_TRAINING, DEV_STEP = 60, 31, 6
NUM_WORDS = 8
SAMPLE_RATE, HOP = 8000, 80  # Hz, samples: power is looked at every 10 ms
SCRAP = 0.1  # seconds
SMOOTHING, SHORTEST_WORD, SHORTEST_PAUSE = 9, 8, 8  # in hops


def prepare(corpus: Path, out: Path) -> None:
    """Write train, dev and test manifests; the words are in the file names, such as 0_1_1_0_0_1_1_0.wav."""
    folder = corpus / SOURCE.marker
    utterances = []
    for path in sorted(folder.glob("*.wav")):
        labels = path.stem.split("_")
        if len(labels) != NUM_WORDS or not WORDS.keys() >= set(labels):
            raise AsrError(f"{path}: expected a name of eight 0 or 1, such as 0_1_1_0_0_1_1_0.wav; remove or rename it")
        utterances.append(audio_utterance(path.stem, path, " ".join(map(WORDS.__getitem__, labels)), "yesno", "he"))
    if len(utterances) != NUM_RECORDINGS:
        raise AsrError(f"{folder}: {len(utterances)} recordings instead of {NUM_RECORDINGS}; fetch {SOURCE.url} again")
    training, test = utterances[:NUM_TRAINING], utterances[NUM_TRAINING:]
    dev = training[DEV_STEP - 1 :: DEV_STEP]
    train = [utterance for utterance in training if utterance not in dev]
    write_splits(out, {"train": with_parts(train), "dev": with_parts(dev), "test": test})


def with_parts(recordings: Sequence[Utterance]) -> list[Utterance]:
    """The recordings, each followed by its beginnings and ends cut at the pauses, where these are plain."""
    utterances = []
    for recording in recordings:
        utterances.append(recording)
        for number, (begin, end) in enumerate(pauses(load_audio(recording.audio, SAMPLE_RATE)), start=1):
            middle = (begin + end) / 2
            first_end, second_start = (end + SCRAP, begin - SCRAP) if number % 2 else (middle, middle)
            utterances.append(_part(recording, 0, number, 0.0, first_end))
            utterances.append(_part(recording, number, NUM_WORDS, second_start, recording.duration))
    return utterances


def _part(recording: Utterance, first: int, stop: int, start: float, end: float) -> Utterance:
    """Words `first` to `stop` - 1 of a recording, which lie between two times in seconds."""
    text = " ".join(recording.text.split()[first:stop])
    return replace(recording, id=f"{recording.id}-{first}-{stop}", start=start, duration=end - start, text=text)


def pauses(waveform: np.ndarray) -> list[tuple[float, float]]:
    """Begin and end in seconds of the seven pauses between eight words; none if power does not show eight words."""
    hops = waveform[: len(waveform) // HOP * HOP].reshape(-1, HOP)
    decibels = 10 * np.log10(np.square(hops).mean(axis=1) + 1e-9)
    decibels = np.convolve(decibels, np.ones(SMOOTHING) / SMOOTHING, "same")
    quiet, loud = np.percentile(decibels, (10, 95))
    is_speech = decibels > quiet + 0.45 * (loud - quiet)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_speech, [0]])))
    words: list[tuple[int, int]] = []
    for begin, end in edges.reshape(-1, 2).tolist():
        if words and begin - words[-1][1] < SHORTEST_PAUSE:
            words[-1] = (words[-1][0], end)
        elif end - begin >= SHORTEST_WORD:
            words.append((begin, end))
    if len(words) != NUM_WORDS:
        return []
    return [(left[1] * HOP / SAMPLE_RATE, right[0] * HOP / SAMPLE_RATE) for left, right in itertools.pairwise(words)]


if __name__ == "__main__":
    sys.exit(run_recipe(prepare, SOURCE, __doc__ or ""))
