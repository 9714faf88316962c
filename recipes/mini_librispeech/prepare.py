"""Manifests of Mini LibriSpeech (OpenSLR 31): five hours to train on, dev-clean-2 to test on.

Three training speakers are kept for dev: every n-th by name from a start drawn once with SEED. Others report
dev-clean-2, which therefore is our test set.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from asr.corpora.recipe import Source, pick_speakers, read_librispeech, run_recipe_of_parts, write_splits

# https://www.openslr.org/resources/31/md5sum.txt, as PaddleSpeech repeats it (dataset/mini_librispeech).
MD5 = {"train-clean-5": "5df7d4e78065366204ca6845bb08f490", "dev-clean-2": "6d7ab67ac6a1d2c993d050e16d61080d"}
PARTS = {
    name: Source(
        name=f"Mini LibriSpeech {name}",
        marker=name,
        url=f"https://www.openslr.org/resources/31/{name}.tar.gz",
        folder="LibriSpeech",
        md5=md5,
    )
    for name, md5 in MD5.items()
}
NUM_DEV_SPEAKERS = 3
SEED = 31


def prepare(folders: Mapping[str, Path], out: Path) -> None:
    """Write train and dev, and test; either from the part it is in."""
    splits = {}
    if "train-clean-5" in folders:
        training = read_librispeech(folders["train-clean-5"], "train-clean-5")
        speakers = sorted({utterance.speaker or "" for utterance in training})
        held_out = pick_speakers(speakers, NUM_DEV_SPEAKERS, SEED, "mini_librispeech", "dev speakers")
        splits["train"] = [utterance for utterance in training if utterance.speaker not in held_out]
        splits["dev"] = [utterance for utterance in training if utterance.speaker in held_out]
    if "dev-clean-2" in folders:
        splits["test"] = read_librispeech(folders["dev-clean-2"], "dev-clean-2")
    write_splits(out, splits)


if __name__ == "__main__":
    sys.exit(run_recipe_of_parts(prepare, PARTS, __doc__ or ""))
