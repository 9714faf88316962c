"""FSDD: every speaker left out once, isolated and connected, and no recording on both sides."""

from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr.audio.io import load_audio, write_wav
from asr.data.manifest import read_manifest
from asr.types import Utterance

SPLITS = ("train", "dev", "test")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEAKERS = ("ann", "bob")
LEVELS = np.linspace(0.1, 0.9, 500)  # each recording of a speaker is constant at its own level, to be told by it


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers in the official layout, 50 recordings of each digit, 10 ms each."""
    root = tmp_path_factory.mktemp("fsdd")
    (root / "recordings").mkdir()
    for speaker in SPEAKERS:
        for digit in range(10):
            for number in range(50):
                waveform = np.full(80, LEVELS[50 * digit + number], np.float32)
                soundfile.write(root / "recordings" / f"{digit}_{speaker}_{number}.wav", waveform, 8000)
    return root


@pytest.fixture(scope="module")
def prepared(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the recipe makes of them, read only."""
    out = tmp_path_factory.mktemp("data")
    script = Path(__file__).resolve().parents[2] / "recipes" / "fsdd" / "prepare.py"
    runpy.run_path(str(script))["prepare"](corpus, out)
    return out


def read_fold(folder: Path) -> list[list[Utterance]]:
    return [read_manifest(folder / f"{name}.jsonl") for name in SPLITS]


def recordings_in(utterance: Utterance) -> list[int]:
    """Which recordings of its speaker a connected string holds, told by their levels."""
    waveform = load_audio(utterance.audio, 8000)
    steps = np.round(waveform[waveform > 0.05], 4)
    levels = [level for index, level in enumerate(steps) if index % 80 == 0]
    return [int(np.argmin(np.abs(LEVELS - level))) for level in levels]


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_an_isolated_fold_tests_one_speaker_and_learns_from_the_others(prepared: Path, speaker: str):
    train, dev, test = read_fold(prepared / "isolated" / speaker)
    assert {row.speaker for row in test} == {speaker}
    assert len(test) == 500
    for rows, numbers, count in ((train, set(range(5, 50)), 450), (dev, set(range(5)), 50)):
        assert len(rows) == count
        assert {row.speaker for row in rows} == set(SPEAKERS) - {speaker}
        assert {int(row.id.split("_")[2]) for row in rows} == numbers
    assert {row.id[0]: row.text for row in test} == dict(zip("0123456789", WORDS, strict=True))


@pytest.mark.parametrize("speaker", ["ann", "bob"])
def test_a_mixed_fold_holds_both_kinds(prepared: Path, speaker: str):
    kinds = (read_fold(prepared / kind / speaker) for kind in ("isolated", "connected"))
    together = [[*isolated, *connected] for isolated, connected in zip(*kinds, strict=True)]
    assert [list(rows) for rows in read_fold(prepared / "mixed" / speaker)] == together


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_a_connected_fold_shares_no_recording_and_uses_each_equally(prepared: Path, speaker: str):
    uses = []
    for rows in read_fold(prepared / "connected" / speaker):
        count: Counter[tuple[str | None, int]] = Counter()
        for row in rows:
            indices = recordings_in(row)
            assert 3 <= len(indices) <= 7
            assert row.text == " ".join(WORDS[index // 50] for index in indices)
            count.update((row.speaker, index) for index in indices)
        uses.append(count)
    train, dev, test = uses
    assert {name for name, _ in train} == {name for name, _ in dev} == set(SPEAKERS) - {speaker}
    assert set(train.values()) == set(dev.values()) == {4}
    assert not train.keys() & dev.keys()
    assert test == {(speaker, index): 1 for index in range(500)}


def test_pauses_stand_before_between_and_after_and_the_duration_is_the_file_s(prepared: Path):
    row = read_fold(prepared / "connected" / "ann")[2][0]
    waveform = load_audio(row.audio, 8000)
    edges = np.flatnonzero(np.diff(np.abs(waveform) > 0.05))
    pauses = np.diff([-1, *edges, len(waveform) - 1])[::2]
    assert row.duration == len(waveform) / 8000
    assert len(pauses) == len(row.text.split()) + 1
    assert min(pauses) >= 160
    assert max(pauses) <= 2000


def test_the_last_speaker_s_isolated_fold_stands_at_the_top(prepared: Path):
    assert read_fold(prepared) == read_fold(prepared / "isolated" / "bob")


def test_a_second_run_writes_the_same_bytes(corpus: Path, prepared: Path, tmp_path: Path, load_recipe: Any):
    load_recipe("fsdd").prepare(corpus, tmp_path / "again")
    again = {path.relative_to(tmp_path / "again"): path.read_bytes() for path in (tmp_path / "again").rglob("*.wav")}
    assert again == {path.relative_to(prepared): path.read_bytes() for path in prepared.rglob("*.wav")}


def test_a_missing_recording_is_named(tmp_path: Path, run_prepare: Any):
    for name in ("0_ann_0", "0_bob_0"):
        write_wav(tmp_path / "recordings" / f"{name}.wav", np.zeros(80, np.float32), 8000)
    result = run_prepare("fsdd", "--corpus", tmp_path, "--out", tmp_path / "data")
    assert result.returncode == 1
    assert "0_ann_1.wav is missing" in result.stderr or "0_bob_1.wav is missing" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_real_fsdd_has_500_recordings_a_speaker(corpora: Path, tmp_path: Path, load_recipe: Any):
    load_recipe("fsdd").prepare(corpora / "fsdd", tmp_path)
    speakers = sorted(path.name for path in (tmp_path / "isolated").iterdir())
    assert len(speakers) >= 4
    for speaker in speakers:
        train, dev, test = read_fold(tmp_path / "isolated" / speaker)
        assert (len(train), len(dev), len(test)) == (450 * (len(speakers) - 1), 50 * (len(speakers) - 1), 500)
