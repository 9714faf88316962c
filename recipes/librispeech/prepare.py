"""Manifests of LibriSpeech (OpenSLR 12), one for each official set, and of what is usually trained and chosen on.

train-960 is all three training sets, dev is dev-clean and dev-other; each is written where all its sets are prepared.
Texts are the official ones: capital letters, apostrophes, no punctuation.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from asr.corpora.recipe import Source, read_librispeech, run_recipe_of_parts, write_splits

# As torchaudio 2.8 checks them (torchaudio/datasets/librispeech.py).
SHA256 = {
    "train-clean-100": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    "train-other-500": "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
    "dev-clean": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "dev-other": "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    "test-clean": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "test-other": "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
}
PARTS = {
    name: Source(
        name=f"LibriSpeech {name}",
        marker=name,
        url=f"https://www.openslr.org/resources/12/{name}.tar.gz",
        folder="LibriSpeech",
        sha256=sha256,
    )
    for name, sha256 in SHA256.items()
}
TOGETHER = {
    "train-960": ("train-clean-100", "train-clean-360", "train-other-500"),
    "dev": ("dev-clean", "dev-other"),
}


def prepare(folders: Mapping[str, Path], out: Path) -> None:
    """Write the manifests of the parts, which lie in these corpus folders."""
    splits = {name: read_librispeech(folder, name) for name, folder in folders.items()}
    for name, parts in TOGETHER.items():
        if splits.keys() >= set(parts):
            splits[name] = [utterance for part in parts for utterance in splits[part]]
    write_splits(out, splits)


if __name__ == "__main__":
    sys.exit(run_recipe_of_parts(prepare, PARTS, __doc__ or ""))
