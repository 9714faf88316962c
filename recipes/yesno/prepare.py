"""Manifests of yesno (OpenSLR 1): one man says eight Hebrew words a recording, each "ken" (YES) or "lo" (NO).

As in Kaldi's recipe the first 31 recordings by name are for training and the other 29 for test; every sixth of the 31
goes to dev.
"""

from __future__ import annotations

import sys
from pathlib import Path

from asr.data.recipe import Source, audio_utterance, run_recipe, write_splits
from asr.errors import AsrError

SOURCE = Source(
    name="yesno",
    marker="waves_yesno",
    url="https://www.openslr.org/resources/1/waves_yesno.tar.gz",
    folder=".",
    sha256="c3f49e0cca421f96b75b41640749167b52118f232498667ca7a5f9416aef8e73",
)
WORDS = {"0": "NO", "1": "YES"}
NUM_RECORDINGS, NUM_TRAINING, DEV_STEP = 60, 31, 6


def prepare(corpus: Path, out: Path) -> None:
    """Write train, dev and test manifests; the words are in the file names, such as 0_1_1_0_0_1_1_0.wav."""
    folder = corpus / SOURCE.marker
    utterances = []
    for path in sorted(folder.glob("*.wav")):
        labels = path.stem.split("_")
        if len(labels) != 8 or not WORDS.keys() >= set(labels):
            raise AsrError(f"{path}: expected a name of eight 0 or 1, such as 0_1_1_0_0_1_1_0.wav; remove or rename it")
        utterances.append(audio_utterance(path.stem, path, " ".join(map(WORDS.__getitem__, labels)), "yesno", "he"))
    if len(utterances) != NUM_RECORDINGS:
        raise AsrError(f"{folder}: {len(utterances)} recordings instead of {NUM_RECORDINGS}; fetch {SOURCE.url} again")
    training, test = utterances[:NUM_TRAINING], utterances[NUM_TRAINING:]
    dev = training[DEV_STEP - 1 :: DEV_STEP]
    train = [utterance for utterance in training if utterance not in dev]
    write_splits(out, {"train": train, "dev": dev, "test": test})


if __name__ == "__main__":
    sys.exit(run_recipe(prepare, SOURCE, __doc__ or ""))
