"""Manifests of CMU AN4: the official 948 training utterances, ten of their speakers kept for dev, and 130 test ones."""

from __future__ import annotations

import re
import sys
from pathlib import Path, PurePosixPath

from asr.corpora.recipe import Source, audio_utterance, run_recipe, write_splits
from asr.errors import AsrError
from asr.types import Utterance

SOURCE = Source(
    name="AN4",
    marker="etc/an4_train.fileids",
    # A mirror of http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz, which comes without a checksum.
    url="https://dldata-public.s3.us-east-2.amazonaws.com/an4_sphere.tar.gz",
    folder="an4",
    sha256="a0525579493735d32b60fb6fa5975dd0eaacde087b0a4eeb7f13b7ef33077b12",
)
# Five women and five men (first letter), spread over the alphabet; no mdcs and mdcs2, who may be one person.
DEV_SPEAKERS = ("fclc", "fjam", "fkdo", "fnsv", "ftal", "mblw", "mdmc", "mjda", "mmap", "mrmg")
TRANSCRIPTION = re.compile(r"(?:<s> )?(?P<text>.*?)(?: </s>)? \((?P<id>[^()]+)\)")


def read_set(corpus: Path, name: str) -> list[Utterance]:
    """One official set in its official order; AsrError where file list and transcription disagree."""
    fileids = _lines(corpus / "etc" / f"an4_{name}.fileids")
    path = corpus / "etc" / f"an4_{name}.transcription"
    transcription = _lines(path)
    if len(transcription) != len(fileids):
        raise AsrError(f"{path}: {len(transcription)} lines for {len(fileids)} file ids; fetch the corpus again")
    utterances = []
    for number, (fileid, line) in enumerate(zip(fileids, transcription, strict=True), start=1):
        file = PurePosixPath(fileid)  # an4_clstk/SPEAKER/ID
        match = TRANSCRIPTION.fullmatch(line)
        if match is None or match["id"] != file.name:
            raise AsrError(f"{path}:{number}: expected text and ({file.name}), found {line!r}; fetch the corpus again")
        utterances.append(audio_utterance(file.name, corpus / "wav" / f"{fileid}.sph", match["text"], file.parent.name))
    return utterances


def prepare(corpus: Path, out: Path) -> None:
    """Write train, dev and test manifests of the corpus."""
    training = read_set(corpus, "train")
    train = [utterance for utterance in training if utterance.speaker not in DEV_SPEAKERS]
    dev = [utterance for utterance in training if utterance.speaker in DEV_SPEAKERS]
    write_splits(out, {"train": train, "dev": dev, "test": read_set(corpus, "test")})


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except OSError as error:
        raise AsrError(f"{path}: {error.strerror}; the AN4 corpus is not complete, fetch it again") from error


if __name__ == "__main__":
    sys.exit(run_recipe(prepare, SOURCE, __doc__ or ""))
