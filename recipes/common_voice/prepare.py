"""Manifests of one language of Mozilla Common Voice: its own train, dev and test lists.

--corpus is the folder of the language in an unpacked release, such as cv-corpus-17.0-2024-03-15/cy; its name is the
language's code. A speaker is a client_id, an id the name of a clip. Texts are as published, with case and punctuation;
the configuration's normaliser deals with them. Rows without a sentence are left out.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from asr.corpora.recipe import Source, audio_utterance, read_lines, run_recipe, write_splits
from asr.errors import AsrError
from asr.types import Utterance

SOURCE = Source(
    name="Common Voice",
    marker="train.tsv",
    url="https://commonvoice.mozilla.org/datasets",
    folder=".",
    free=False,  # an address is given out to those who agree to the terms
)
COLUMNS = {"client_id", "path", "sentence"}


def read_set(corpus: Path, name: str) -> list[Utterance]:
    """One official list in its order; AsrError for one without the columns that every release has."""
    path = corpus / f"{name}.tsv"
    lang = corpus.resolve().name
    rows = csv.DictReader((line for _, line in read_lines(path)), delimiter="\t", quoting=csv.QUOTE_NONE)
    if missing := COLUMNS - set(rows.fieldnames or ()):
        raise AsrError(f"{path}:1: no column {', '.join(sorted(missing))}; expected a list of Common Voice")
    utterances = []
    for row in rows:
        if None in row or None in row.values():
            raise AsrError(f"{path}: the row of {row['path']} has not a cell for each column; fetch the corpus again")
        if text := " ".join(row["sentence"].split()):
            clip = corpus / "clips" / row["path"]
            utterances.append(audio_utterance(clip.stem, clip, text, row["client_id"], lang))
    return utterances


def prepare(corpus: Path, out: Path) -> None:
    """Write train, dev and test manifests of the language."""
    write_splits(out, {name: read_set(corpus, name) for name in ("train", "dev", "test")})


if __name__ == "__main__":
    sys.exit(run_recipe(prepare, SOURCE, __doc__ or ""))
