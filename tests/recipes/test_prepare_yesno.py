"""yesno: 31 recordings for training, 29 for test, by name; the words come from the names."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr.audio.io import write_wav
from asr.data.manifest import read_manifest

SPLITS = ("train", "dev", "test")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """60 short recordings in the official layout."""
    for labels in itertools.islice(itertools.product("01", repeat=8), 60):
        write_wav(tmp_path / "yesno" / "waves_yesno" / f"{'_'.join(labels)}.wav", np.zeros(800, np.float32), 8000)
    return tmp_path / "yesno"


def test_the_first_31_by_name_are_for_training_and_dev_is_among_them(corpus: Path, tmp_path: Path, run_prepare: Any):
    result = run_prepare("yesno", "--corpus", corpus, "--out", tmp_path / "data")
    assert result.returncode == 0, result.stderr
    train, dev, test = ([row.id for row in read_manifest(tmp_path / "data" / f"{name}.jsonl")] for name in SPLITS)
    names = sorted(path.stem for path in (corpus / "waves_yesno").glob("*.wav"))
    assert sorted(train + dev) == names[:31]
    assert test == names[31:]
    assert (len(train), len(dev)) == (26, 5)


def test_one_is_yes_and_zero_is_no(corpus: Path, tmp_path: Path, load_recipe: Any):
    load_recipe("yesno").prepare(corpus, tmp_path / "data")
    texts = {row.id: row.text for row in read_manifest(tmp_path / "data" / "train.jsonl")}
    assert texts["0_0_0_0_0_0_1_1"] == "NO NO NO NO NO NO YES YES"


def test_pauses_lie_in_the_middle_between_eight_words(load_recipe: Any):
    word, silence = np.full(2400, 0.1, np.float32), np.zeros(1600, np.float32)
    waveform = np.concatenate([silence, *[word, silence] * 8])
    middles = [0.2 + 0.3 + 0.1 + 0.5 * number for number in range(7)]  # seconds at 8 kHz
    assert load_recipe("yesno").pauses(waveform) == pytest.approx(middles, abs=0.011)
    assert load_recipe("yesno").pauses(waveform[:20000]) == []


def test_a_missing_recording_and_an_odd_name_are_refused(corpus: Path, tmp_path: Path, run_prepare: Any):
    (corpus / "waves_yesno" / "0_0_0_0_0_0_0_0.wav").unlink()
    result = run_prepare("yesno", "--corpus", corpus, "--out", tmp_path / "data")
    assert result.returncode == 1
    assert "59 recordings instead of 60" in result.stderr
    (corpus / "waves_yesno" / "0_0_0_0_0_0_0_1.wav").rename(corpus / "waves_yesno" / "0_2.wav")
    result = run_prepare("yesno", "--corpus", corpus, "--out", tmp_path / "data")
    assert result.returncode == 1
    assert "0_2.wav: expected a name of eight 0 or 1" in result.stderr


def test_real_yesno_has_31_and_29_recordings(corpora: Path, tmp_path: Path, load_recipe: Any):
    load_recipe("yesno").prepare(corpora / "yesno", tmp_path)
    train, dev, test = (read_manifest(tmp_path / f"{name}.jsonl") for name in SPLITS)
    recordings = [row for row in [*train, *dev] if len(row.id) == len("0_0_0_0_1_1_1_1")]
    assert (len(recordings), len(test)) == (31, 29)
    assert {len(row.text.split()) for row in [*recordings, *test]} == {8}
    assert {row.text.split()[0] for row in recordings} == {"NO"}
    assert {row.text.split()[0] for row in train} == {"YES", "NO"}
    assert {word for row in dev for word in row.text.split()} == {"YES", "NO"}
