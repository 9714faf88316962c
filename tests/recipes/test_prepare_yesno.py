"""yesno: 31 recordings for training, 29 for test, by name; the words come from the names."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr.audio.io import write_wav
from asr.data.manifest import read_manifest
from asr.types import Utterance

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


def eight_words() -> np.ndarray:
    """Words of 0.3 s with pauses of 0.2 s before, between and after them, at 8 kHz."""
    word, silence = np.full(2400, 0.1, np.float32), np.zeros(1600, np.float32)
    return np.concatenate([silence, *[word, silence] * 8])


def test_pauses_lie_between_eight_words(load_recipe: Any):
    found = load_recipe("yesno").pauses(eight_words())
    begins = [0.2 + 0.3 + 0.5 * number for number in range(7)]
    assert [begin for begin, _ in found] == pytest.approx(begins, abs=0.06)  # loudness is smoothed over 0.09 s
    assert [sum(pause) / 2 for pause in found] == pytest.approx([begin + 0.1 for begin in begins], abs=0.011)
    assert load_recipe("yesno").pauses(eight_words()[:20000]) == []


def test_every_second_part_holds_a_scrap_of_the_word_it_is_cut_from(tmp_path: Path, load_recipe: Any):
    write_wav(tmp_path / "a.wav", eight_words(), 8000)
    recipe = load_recipe("yesno")
    whole = Utterance("a", tmp_path / "a.wav", 4.2, "NO YES NO YES NO YES NO YES")
    parts = {part.id: part for part in recipe.with_parts([whole])}
    pauses = recipe.pauses(eight_words())
    for number, (begin, end) in enumerate(pauses, start=1):
        first, second = parts[f"a-0-{number}"], parts[f"a-{number}-8"]
        assert f"{first.text} {second.text}" == whole.text
        assert second.start + second.duration == pytest.approx(whole.duration)
        if number % 2:
            assert first.duration > end > begin > second.start
        else:
            assert first.duration == second.start == pytest.approx((begin + end) / 2)


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
