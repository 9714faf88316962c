"""Manifests of speechocean762: official sets, twelve training speakers kept for dev, and a test set of unseen texts.

Dev: the training speakers in order of gender, age and name, every n-th of them from a start drawn once with SEED, so
that women and men, children and adults have their share. test_strict: test without texts that a training or dev
speaker reads, too. Of recordings that the lists name, a copy must hold all; a copy may list part of the corpus.
"""

from __future__ import annotations

import sys
from pathlib import Path

from asr.corpora.recipe import Source, audio_utterance, pick_speakers, read_table, run_recipe, write_splits
from asr.errors import AsrError
from asr.types import Utterance

SOURCE = Source(
    name="speechocean762",
    marker="train/wav.scp",
    url="https://www.openslr.org/resources/101/speechocean762.tar.gz",
    folder="speechocean762",
)
NUM_DEV_SPEAKERS = 12
SEED = 762


def read_set(corpus: Path, name: str) -> list[Utterance]:
    """One official set, a Kaldi data directory, in its official order; AsrError where its files disagree."""
    folder = corpus / name
    texts, speakers, audio = (read_table(folder / file) for file in ("text", "utt2spk", "wav.scp"))
    if not texts.keys() == speakers.keys() == audio.keys():
        ids = sorted(set(texts) ^ set(audio) | set(texts) ^ set(speakers))
        raise AsrError(f"{folder}: text, utt2spk and wav.scp disagree about '{ids[0]}'; fetch the corpus again")
    return [audio_utterance(id, corpus / audio[id], text, speakers[id]) for id, text in texts.items()]


def dev_speakers(corpus: Path) -> set[str]:
    """The training speakers kept for dev."""
    ages, genders = read_table(corpus / "train" / "spk2age"), read_table(corpus / "train" / "spk2gender")
    order = sorted(genders, key=lambda speaker: (genders[speaker], int(ages.get(speaker, 0)), speaker))
    return pick_speakers(order, NUM_DEV_SPEAKERS, SEED, SOURCE.name, "dev speakers")


def prepare(corpus: Path, out: Path) -> None:
    """Write train, dev, test and test_strict manifests of the corpus."""
    training, test, held_out = read_set(corpus, "train"), read_set(corpus, "test"), dev_speakers(corpus)
    known = {utterance.text for utterance in training}
    write_splits(
        out,
        {
            "train": [utterance for utterance in training if utterance.speaker not in held_out],
            "dev": [utterance for utterance in training if utterance.speaker in held_out],
            "test": test,
            "test_strict": [utterance for utterance in test if utterance.text not in known],
        },
    )


if __name__ == "__main__":
    sys.exit(run_recipe(prepare, SOURCE, __doc__ or ""))
