"""AN4: official sets, dev speakers named in the script, texts as published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr.data.manifest import read_manifest

TRAIN = (("fash", "an251-fash-b", "YES"), ("fclc", "an146-fclc-b", "N L N S"), ("mrmg", "cen1-mrmg-b", "RUBOUT A"))
TEST = (("fcaw", "an406-fcaw-b", "RUBOUT G M E F THREE NINE"),)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Four recordings in the official layout; train texts carry <s> </s>, test texts do not."""
    root = tmp_path / "an4"
    (root / "etc").mkdir(parents=True)
    for name, folder, rows, form in (
        ("train", "an4_clstk", TRAIN, "<s> {} </s> ({})"),
        ("test", "an4test_clstk", TEST, "{} ({})"),
    ):
        lines = [form.format(text, id) for _, id, text in rows]
        (root / "etc" / f"an4_{name}.transcription").write_text("\n".join(lines) + "\n")
        fileids = [f"{folder}/{speaker}/{id}" for speaker, id, _ in rows]
        (root / "etc" / f"an4_{name}.fileids").write_text("\n".join(fileids) + "\n")
        for fileid in fileids:
            path = root / "wav" / f"{fileid}.sph"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.zeros(8000), 16000, format="NIST", subtype="PCM_16")
    return root


def test_sets_texts_and_speakers_are_the_official_ones(corpus: Path, tmp_path: Path, run_prepare: Any):
    result = run_prepare("an4", "--corpus", corpus, "--out", tmp_path / "data")
    assert result.returncode == 0, result.stderr
    train, dev, test = (read_manifest(tmp_path / "data" / f"{name}.jsonl") for name in ("train", "dev", "test"))
    assert [(row.speaker, row.id, row.text) for row in train] == [TRAIN[0]]
    assert [(row.speaker, row.id, row.text) for row in dev] == list(TRAIN[1:])
    assert [(row.speaker, row.id, row.text) for row in test] == list(TEST)
    assert {row.duration for row in [*train, *dev, *test]} == {0.5}
    assert "dev.jsonl: 2 utterances, 0.00 h, speakers: 2" in result.stdout


def test_the_folder_above_the_corpus_will_do(corpus: Path, tmp_path: Path, run_prepare: Any):
    assert run_prepare("an4", "--corpus", corpus.parent, "--out", tmp_path / "data").returncode == 0


def test_a_transcription_of_another_recording_is_named_with_its_line(corpus: Path, tmp_path: Path, run_prepare: Any):
    path = corpus / "etc" / "an4_train.transcription"
    path.write_text(path.read_text().replace("(an146-fclc-b)", "(an147-fclc-b)"))
    result = run_prepare("an4", "--corpus", corpus, "--out", tmp_path / "data")
    assert result.returncode == 1
    assert f"{path}:2: expected text and (an146-fclc-b)" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_transcription_that_is_too_short_is_refused(corpus: Path, tmp_path: Path, run_prepare: Any):
    path = corpus / "etc" / "an4_train.transcription"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    result = run_prepare("an4", "--corpus", corpus, "--out", tmp_path / "data")
    assert result.returncode == 1
    assert "1 lines for 3 file ids" in result.stderr


def test_real_an4_has_948_and_130_utterances_and_ten_dev_speakers(corpora: Path, tmp_path: Path, load_recipe: Any):
    recipe = load_recipe("an4")
    recipe.prepare(corpora / "an4", tmp_path)
    train, dev, test = (read_manifest(tmp_path / f"{name}.jsonl") for name in ("train", "dev", "test"))
    speakers = [{row.speaker for row in rows} for rows in (train, dev, test)]
    assert (len(train), len(dev), len(test)) == (818, 130, 130)
    assert [len(names) for names in speakers] == [64, 10, 10]
    assert len(set.union(*speakers)) == 84
    assert sorted(name[0] for name in speakers[1]) == ["f"] * 5 + ["m"] * 5
    assert not any(character in row.text for row in [*train, *dev, *test] for character in "<>()")
