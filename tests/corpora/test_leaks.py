"""What a test set shares with a training set is found, whatever hides it, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from asr.corpora.leaks import Leaks, find_leaks
from asr.types import Utterance

RATE = 8000


def samples(seed: int, seconds: float = 1.0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE))
    return np.round(noise * 32768) / 32768


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Leaks:
    folder = tmp_path_factory.mktemp("leaks")

    def row(id: str, text: str, *, seed: int = 0, speaker: str | None = None, name: str = "", start: float = 0.0,
            duration: float = 1.0) -> Utterance:  # fmt: skip
        path = folder / (name or f"{id}.wav")
        if seed:
            soundfile.write(path, samples(seed), RATE)
        return Utterance(id, path, duration, text, start, speaker)

    soundfile.write(folder / "long.wav", samples(9, 4.0), RATE)
    (folder / "notes.wav").write_text("no audio", encoding="utf-8")
    train = [
        row("a", "one two three four five", seed=1, speaker="ann"),
        row("b", "Turn it on!", seed=2, speaker="bob"),
        row("c", "another text", seed=3),
        row("piece", "from a long file", name="long.wav", start=1.0),
        row("e", "", seed=5),
    ]
    test = [
        row("copy", "something else", seed=1, name="copy.flac"),
        row("same", "turn it on", seed=6, speaker="ann"),
        row("near", "one two three four six", seed=7, speaker="zoe"),
        row("over", "quite new", name="long.wav", start=1.5),
        row("after", "as new", name="long.wav", start=2.0, duration=2.0),
        row("broken", "no text of theirs", name="notes.wav"),
        row("fresh", "", seed=8),
    ]
    return find_leaks(train, test)


def test_each_kind_is_found_and_nothing_else(found: Leaks) -> None:
    pairs = {name: [(one.test, one.train) for one in shared] for name, shared in found.kinds.items()}
    assert pairs == {
        "audio": [("copy", "a"), ("over", "piece")],
        "speakers": [("same", "a")],
        "texts": [("same", "b")],
        "near_texts": [("near", "a")],
    }


def test_audio_that_cannot_be_compared_is_told(found: Leaks) -> None:
    (reason,) = found.not_compared
    assert "notes.wav: cannot be read as audio" in reason


def test_json_has_counts_shares_and_pairs(found: Leaks) -> None:
    told = json.loads(json.dumps(found.to_json()))
    assert told["test_utterances"] == 7
    assert told["audio"]["count"] == 2
    assert told["audio"]["share"] == pytest.approx(2 / 7)
    assert told["near_texts"]["pairs"][0]["similarity"] == pytest.approx(0.8)
    assert told["shared_speakers"] == ["ann"]


def test_the_table_has_every_kind_with_as_many_examples_as_asked_for(found: Leaks) -> None:
    def shown(num_examples: int) -> str:
        console = Console(width=300)
        with console.capture() as capture:
            console.print(found.table(num_examples))
        return capture.get()

    assert all(kind in shown(0) for kind in ("audio", "speakers", "texts", "near texts"))
    assert "copy" not in shown(0)
    assert "copy" in shown(1)
    assert "the same stretch" not in shown(1)
    assert "the same stretch" in shown(2)


def test_processes_find_the_same(tmp_path: Path) -> None:
    train, test = [], []
    for number in range(6):
        soundfile.write(tmp_path / f"{number}.wav", samples(number), RATE)
        soundfile.write(tmp_path / f"{number}.flac", samples(number if number % 2 else 100 + number), RATE)
        train.append(Utterance(f"a{number}", tmp_path / f"{number}.wav", 1.0))
        test.append(Utterance(f"b{number}", tmp_path / f"{number}.flac", 1.0))
    pairs = [(one.test, one.train) for one in find_leaks(train, test, workers=2).audio or ()]
    assert pairs == [("b1", "a1"), ("b3", "a3"), ("b5", "a5")]


def test_only_audio_of_equal_length_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.wav", samples(1), RATE)
    soundfile.write(tmp_path / "b.wav", samples(1, 1.1), RATE)

    def fail(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("asr.corpora.doctor.pool.examine", fail)
    rows = [Utterance(name, tmp_path / f"{name}.wav", 1.0) for name in "ab"]
    assert find_leaks(rows[:1], rows[1:]).audio == []


def test_without_audio_no_file_is_opened() -> None:
    row = Utterance("a", Path("/nowhere.wav"), 1.0, "one")
    found = find_leaks([row], [row], audio=False)
    assert found.audio is None
    assert "audio" not in found.to_json()
    assert [one.test for one in found.texts] == ["a"]
