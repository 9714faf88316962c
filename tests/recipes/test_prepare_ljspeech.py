"""LJ Speech: whole chapters held out, the normalised texts, and copies of some chapters in other audio formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asr.data.manifest import read_manifest
from asr.errors import AsrError

ROWS = (
    ("LJ001-0001", "Printing, in 1455", "Printing, in fourteen fifty-five"),
    ("LJ001-0002", 'it is "exquisite', 'it is "exquisite'),  # an unbalanced quotation mark
    ("LJ049-0001", "Report of the Commission", "Report of the Commission"),
    ("LJ050-0001", "Chapter 8.", "Chapter eight."),
)


@pytest.fixture
def corpus(tmp_path: Path, make_audio: Any) -> Path:
    """Four recordings of three chapters in the official layout."""
    root = tmp_path / "LJSpeech-1.1"
    for id, _, _ in ROWS:
        make_audio(root / "wavs" / f"{id}.wav", 0.4, 22050)
    (root / "metadata.csv").write_text("".join("|".join(row) + "\n" for row in ROWS))
    return root


def test_chapters_texts_and_the_reader_are_the_official_ones(corpus: Path, tmp_path: Path, load_recipe: Any):
    load_recipe("ljspeech").prepare(corpus, tmp_path)
    found = {name: read_manifest(tmp_path / f"{name}.jsonl") for name in ("train", "dev", "test")}
    assert {name: [row.id for row in rows] for name, rows in found.items()} == {
        "train": ["LJ001-0001", "LJ001-0002"],
        "dev": ["LJ049-0001"],
        "test": ["LJ050-0001"],
    }
    assert [row.text for row in found["train"]] == [ROWS[0][2], ROWS[1][2]]
    assert {(row.speaker, row.lang, row.duration) for row in found["train"]} == {("LJ", "en", 0.4)}


def test_a_row_without_a_recording_or_a_text_is_named(corpus: Path, tmp_path: Path, load_recipe: Any):
    (corpus / "wavs/LJ049-0001.wav").unlink()
    with pytest.raises(AsrError, match=r"metadata\.csv:3: no audio of LJ049-0001 in wavs"):
        load_recipe("ljspeech").prepare(corpus, tmp_path)
    (corpus / "metadata.csv").write_text("LJ001-0001|Printing\n")
    with pytest.raises(AsrError, match=r"metadata\.csv:1: expected id\|text\|normalised text"):
        load_recipe("ljspeech").prepare(corpus, tmp_path)


def test_one_chapter_in_opus_is_training_data(corpora: Path, tmp_path: Path, load_recipe: Any):
    load_recipe("ljspeech").prepare(corpora / "ljspeech_tail", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train.jsonl"]
    rows = read_manifest(tmp_path / "train.jsonl")
    assert len(rows) == len((corpora / "ljspeech_tail/metadata.csv").read_text().splitlines())
    assert rows[0].text.startswith("The Chronicles of Newgate, Volume two.")
