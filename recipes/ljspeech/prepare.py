"""Manifests of LJ Speech 1.1, one reader: chapter LJ049 for dev, LJ050 for test, the other 48 for training.

There is no official split; whole chapters are held out, since a chapter is one text read in one go. Texts are the
corpus's own normalised ones, numbers written out; case and punctuation are left to the configuration's normaliser.
A copy may hold some of the chapters, and its audio in any format that is read: splits without a row are not written.
"""

from __future__ import annotations

import sys
from pathlib import Path

from asr.audio.io import AUDIO_SUFFIXES
from asr.corpora.recipe import Source, audio_utterance, read_lines, run_recipe, write_splits
from asr.errors import AsrError
from asr.types import Utterance

SOURCE = Source(
    name="LJ Speech",
    marker="metadata.csv",
    url="https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
    folder="LJSpeech-1.1",
    # As torchaudio 2.8 checks it (torchaudio/datasets/ljspeech.py).
    sha256="be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
)
SPLIT_OF_CHAPTER = {"LJ049": "dev", "LJ050": "test"}  # all others: train


def prepare(corpus: Path, out: Path) -> None:
    """Write the manifests of the chapters that are there."""
    audio = {path.stem: path for path in (corpus / "wavs").iterdir() if path.suffix in AUDIO_SUFFIXES}
    splits: dict[str, list[Utterance]] = {}
    for number, line in read_lines(corpus / "metadata.csv"):
        id, *texts = line.split("|")  # id|as printed|normalised; quotation marks mean nothing
        if len(texts) != 2 or id not in audio:
            problem = (
                f"no audio of {id} in wavs" if len(texts) == 2 else f"expected id|text|normalised text, found {line!r}"
            )
            raise AsrError(f"{corpus / 'metadata.csv'}:{number}: {problem}; fetch the corpus again")
        split = SPLIT_OF_CHAPTER.get(id.split("-")[0], "train")
        splits.setdefault(split, []).append(audio_utterance(id, audio[id], texts[1].strip(), "LJ"))
    write_splits(out, splits)


if __name__ == "__main__":
    sys.exit(run_recipe(prepare, SOURCE, __doc__ or ""))
