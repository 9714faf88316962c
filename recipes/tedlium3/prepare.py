"""Manifests of TED-LIUM 3 (OpenSLR 51), the "legacy" distribution, whose dev and test sets are those of release 2.

A row of an STM file is an utterance, its speaker the talk's. Text rules: marks of noise, silence and unknown words
({NOISE}, [NOISE], <sil>, <unk>), of pronunciations such as (2), and the row's name at the end go; a word's end that
stands apart joins it (it 's: it's); rows to be ignored in scoring, and those without a word left, are left out.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from asr.audio.io import audio_info
from asr.corpora.recipe import Source, read_lines, run_recipe, write_splits
from asr.errors import AsrError
from asr.types import Utterance

SOURCE = Source(
    name="TED-LIUM 3",
    marker="legacy",
    url="https://www.openslr.org/resources/51/TEDLIUM_release-3.tgz",
    folder="TEDLIUM_release-3",
    # As torchaudio 2.8 checks it (torchaudio/datasets/tedlium.py).
    sha256="ad1e454d14d1ad550bc2564c462d87c7a7ec83d4dc2b9210f22ab4973b9eccdb",
)
TOLERANCE = 1.0  # seconds a row may reach beyond the end of its recording
SETS = ("train", "dev", "test")
IGNORED = "ignore_time_segment_in_scoring"
MARKS = re.compile(r"\{[^}]*\}|\[[^\]]*\]|<[^>]*>|\([^)]*\)")
SPLIT_ENDING = re.compile(r"(?<=\w) (?='(?:s|t|m|re|ve|ll|d)?(?: |$))")
# file, channel, speaker, begin, end, label, text
STM_ROW = re.compile(r"(\S+)\s+\S+\s+(\S+)\s+([\d.]+)\s+([\d.]+)\s+<[^>]*>\s*(.*)")


def clean(text: str) -> str:
    """A transcript as it is trained on and scored; may be empty."""
    return SPLIT_ENDING.sub("", " ".join(MARKS.sub(" ", text).split()))


def read_talk(path: Path, audio: Path) -> list[Utterance]:
    """The rows of an STM file that hold words; AsrError names a line that is none or lies beyond the recording."""
    duration = audio_info(audio).duration
    utterances = []
    for number, line in read_lines(path):
        if line.startswith(";;"):
            continue
        match = STM_ROW.fullmatch(line.strip())
        if match is None or not float(match[3]) < float(match[4]) <= duration + TOLERANCE:
            raise AsrError(f"{path}:{number}: expected a row within {duration:.2f} s of audio, found {line!r}")
        talk, speaker, start, end, text = match[1], match[2], float(match[3]), float(match[4]), clean(match[5])
        if text and text != IGNORED:
            id = f"{talk}-{round(start * 100):07d}-{round(end * 100):07d}"
            utterances.append(Utterance(id, audio, round(min(end, duration) - start, 3), text, start, speaker, "en"))
    return utterances


def read_set(corpus: Path, name: str) -> list[Utterance]:
    """One set, talk by talk."""
    folder = corpus / "legacy" / name
    talks = sorted((folder / "stm").glob("*.stm"))
    if not talks:
        raise AsrError(f"{folder / 'stm'}: no STM files here; fetch the corpus again")
    return [row for path in talks for row in read_talk(path, folder / "sph" / f"{path.stem}.sph")]


def prepare(corpus: Path, out: Path) -> None:
    """Write train, dev and test manifests of the corpus."""
    write_splits(out, {name: read_set(corpus, name) for name in SETS})


if __name__ == "__main__":
    sys.exit(run_recipe(prepare, SOURCE, __doc__ or ""))
