"""LibriSpeech and its miniature: official sets, ids, texts and speakers from the official layout; parts to choose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asr.data.manifest import read_manifest

# set: speaker, chapter, texts of utterances 0, 1, ...
CORPUS = {
    "train-clean-100": (
        ("103", "1240", ("CHAPTER ONE", "THAT HAD ITS SOURCE AWAY BACK")),
        ("19", "198", ("NORTHANGER",)),
    ),
    "train-clean-360": (("100", "121669", ("TOM THE PIPER'S SON",)),),
    "train-other-500": (("20", "205", ("THE EVENING PARTY",)),),
    "dev-clean": (("84", "121123", ("GO DO YOU HEAR",)),),
    "dev-other": (("116", "288045", ("AS I APPROACHED THE CITY",)),),
    "test-clean": (("61", "70968", ("HE BEGAN A CONFUSED COMPLAINT",)),),
    "test-other": (("367", "130732", ("LOBSTERS AND LOBSTERS",)),),
    "train-clean-5": tuple((str(speaker), "1", (f"SPEAKER {speaker}",)) for speaker in range(10, 16)),
    "dev-clean-2": (("84", "121123", ("GO DO YOU HEAR", "BUT IN LESS THAN FIVE MINUTES")),),
}
MINI = ("train-clean-5", "dev-clean-2")


@pytest.fixture
def corpus(tmp_path: Path, make_audio: Any) -> Path:
    """One or a few utterances of every set, LibriSpeech and Mini LibriSpeech unpacked side by side."""
    root = tmp_path / "LibriSpeech"
    for name, chapters in CORPUS.items():
        for speaker, chapter, texts in chapters:
            folder = root / name / speaker / chapter
            lines = [f"{speaker}-{chapter}-{number:04d} {text}\n" for number, text in enumerate(texts)]
            for line in lines:
                make_audio(folder / f"{line.split()[0]}.flac")
            (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(lines))
    return root


def ids(path: Path) -> list[str]:
    return [row.id for row in read_manifest(path)]


def test_sets_texts_and_speakers_are_the_official_ones(corpus: Path, tmp_path: Path, run_prepare: Any):
    result = run_prepare("librispeech", "--corpus", corpus.parent, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert [
        (row.id, row.text, row.speaker, row.lang, row.duration)
        for row in read_manifest(tmp_path / "train-clean-100.jsonl")
    ] == [
        ("103-1240-0000", "CHAPTER ONE", "103", "en", 0.5),
        ("103-1240-0001", "THAT HAD ITS SOURCE AWAY BACK", "103", "en", 0.5),
        ("19-198-0000", "NORTHANGER", "19", "en", 0.5),
    ]
    assert ids(tmp_path / "train-960.jsonl")[2:] == ["19-198-0000", "100-121669-0000", "20-205-0000"]
    assert ids(tmp_path / "dev.jsonl") == ["84-121123-0000", "116-288045-0000"]
    assert ids(tmp_path / "test-clean.jsonl") == ["61-70968-0000"]
    assert ids(tmp_path / "test-other.jsonl") == ["367-130732-0000"]
    assert "train-960.jsonl: 5 utterances, 0.00 h, speakers: 4" in result.stdout


def test_chosen_parts_alone_are_prepared(corpus: Path, tmp_path: Path, run_prepare: Any):
    result = run_prepare(
        "librispeech", "--corpus", corpus, "--out", tmp_path / "data", "--parts", "dev-clean", "test-clean"
    )
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["dev-clean.jsonl", "test-clean.jsonl"]


def test_a_missing_part_is_named_with_its_address(tmp_path: Path, run_prepare: Any):
    result = run_prepare("librispeech", "--corpus", tmp_path, "--out", tmp_path, "--parts", "dev-other")
    assert result.returncode == 1
    assert "no LibriSpeech dev-other corpus here" in result.stderr
    assert "https://www.openslr.org/resources/12/dev-other.tar.gz" in result.stderr


def test_a_recording_that_is_missing_is_named(corpus: Path, tmp_path: Path, run_prepare: Any):
    (corpus / "dev-clean/84/121123/84-121123-0000.flac").unlink()
    result = run_prepare("librispeech", "--corpus", corpus, "--out", tmp_path / "data", "--parts", "dev-clean")
    assert result.returncode == 1
    assert "84-121123-0000.flac" in result.stderr
    assert result.stderr.count("\n") == 1


def test_mini_keeps_three_training_speakers_for_dev_and_tests_on_dev_clean_2(
    corpus: Path, tmp_path: Path, load_recipe: Any
):
    load_recipe("mini_librispeech").prepare(dict.fromkeys(MINI, corpus), tmp_path)
    train, dev, test = (read_manifest(tmp_path / f"{name}.jsonl") for name in ("train", "dev", "test"))
    assert [len(rows) for rows in (train, dev, test)] == [3, 3, 2]
    assert {row.speaker for row in train} | {row.speaker for row in dev} == {str(speaker) for speaker in range(10, 16)}
    assert [(row.id, row.text, row.speaker) for row in test] == [
        ("84-121123-0000", "GO DO YOU HEAR", "84"),
        ("84-121123-0001", "BUT IN LESS THAN FIVE MINUTES", "84"),
    ]
