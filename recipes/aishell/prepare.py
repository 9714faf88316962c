"""Manifests of AISHELL-1 (OpenSLR 33), read Mandarin: the official sets.

Texts lose the spaces of the official word segmentation and get one between any two characters, so that a character
counts as a word and WER is what others report as CER; full-width letters become plain capitals. Recordings without a
transcript (325 of 141 925) are left out. The archive holds one more for each speaker, which are unpacked beside them.
"""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

from asr.corpora.recipe import Source, audio_utterance, read_table, run_recipe, write_splits
from asr.data.download import extract
from asr.errors import AsrError
from asr.types import Utterance

SOURCE = Source(
    name="AISHELL-1",
    marker="transcript/aishell_transcript_v0.8.txt",
    url="https://www.openslr.org/resources/33/data_aishell.tgz",
    folder="data_aishell",
    md5="2f494334227864a8a8fec932999db9d8",  # as PaddleSpeech checks it (dataset/aishell)
)
SETS = ("train", "dev", "test")


def unpack_speakers(wav: Path) -> None:
    """Unpack SPEAKER.tar.gz of every speaker who has no folder yet."""
    there = {folder.name for name in SETS for folder in wav.glob(f"{name}/*")}
    for archive in sorted(wav.glob("*.tar.gz")):
        if archive.name.removesuffix(".tar.gz") not in there:
            extract(archive, wav)


def read_set(corpus: Path, name: str, texts: dict[str, str]) -> list[Utterance]:
    """The recordings of one official set, by name, which have a transcript; AsrError if there are none."""
    utterances = [
        audio_utterance(path.stem, path, spell(texts[path.stem]), path.parent.name, "zh")
        for path in sorted((corpus / "wav" / name).glob("*/*.wav"))
        if path.stem in texts
    ]
    if not utterances:
        raise AsrError(f"{corpus / 'wav' / name}: no transcribed recordings here; fetch the corpus again")
    return utterances


def spell(text: str) -> str:
    """Characters with one space between them."""
    return " ".join(unicodedata.normalize("NFKC", "".join(text.split())).upper())


def prepare(corpus: Path, out: Path) -> None:
    """Write train, dev and test manifests of the corpus."""
    unpack_speakers(corpus / "wav")
    texts = read_table(corpus / SOURCE.marker)
    write_splits(out, {name: read_set(corpus, name, texts) for name in SETS})


if __name__ == "__main__":
    sys.exit(run_recipe(prepare, SOURCE, __doc__ or ""))
