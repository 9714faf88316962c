"""Corpora through lhotse's own functions, and one line for whatever goes wrong there."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from asr.corpora import lhotse_corpus
from asr.corpora.lhotse_corpus import import_lhotse_corpus
from asr.errors import AsrError, ManifestError


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a function in the place of lhotse's; without lhotse."""

    def replace(function: Any) -> None:
        monkeypatch.setattr(lhotse_corpus, "_recipes", lambda: SimpleNamespace(prepare_mine=function))

    return replace


def tables(folder: Path, name: str) -> dict[str, list[Any]]:
    soundfile.write(folder / f"{name}.wav", np.zeros(8000), 8000)
    source = {"type": "file", "channels": [0], "source": str(folder / f"{name}.wav")}
    supervision = {"id": name, "recording_id": "r", "start": 0, "duration": 1.0, "channel": 0, "text": name}
    return {
        "recordings": [SimpleNamespace(to_dict=lambda: {"id": "r", "sources": [source]})],
        "supervisions": [SimpleNamespace(to_dict=lambda: supervision)],
    }


def test_ljspeech_as_lhotse_prepares_it(tmp_path):
    pytest.importorskip("lhotse", reason="lhotse is not installed")
    (tmp_path / "wavs").mkdir()
    for number in (1, 2):
        soundfile.write(tmp_path / "wavs" / f"LJ00{number}.wav", np.full(22050, 0.1), 22050)
    (tmp_path / "metadata.csv").write_text("LJ001|In 1990|In nineteen ninety\nLJ002|Yes|Yes\n")
    (split,) = import_lhotse_corpus("ljspeech", tmp_path).items()
    assert split[0] == "ljspeech"
    assert split[1].faults == []
    assert [(row.id, row.audio.name, row.duration, row.text) for row in split[1].utterances] == [
        ("LJ001", "LJ001.wav", 1.0, "In 1990"), ("LJ002", "LJ002.wav", 1.0, "Yes")
    ]  # fmt: skip


def test_yesno_as_lhotse_prepares_it(corpora):
    pytest.importorskip("lhotse", reason="lhotse is not installed")
    splits = import_lhotse_corpus("yesno", corpora / "yesno" / "waves_yesno")
    assert {name: len(split.utterances) for name, split in splits.items()} == {"train": 30, "test": 30}
    for row in (row for split in splits.values() for row in split.utterances):
        assert row.text.split() == [{"0": "NO", "1": "YES"}[digit] for digit in row.id.split("_")]


def test_splits_are_named_by_their_levels_and_those_without_texts_left_out(prepare, tmp_path):
    def mine(corpus_dir: Path) -> Any:
        noise = {"recordings": tables(corpus_dir, "noise")["recordings"], "supervisions": None}
        return {"ihm": {"dev": tables(corpus_dir, "a")}, "test": tables(corpus_dir, "b"), "noise": noise}

    prepare(mine)
    splits = import_lhotse_corpus("mine", tmp_path)
    assert {name: [row.id for row in split.utterances] for name, split in splits.items()} == {
        "ihm-dev": ["a"], "test": ["b"]
    }  # fmt: skip


def test_settings_are_arguments_and_an_output_folder_is_given_where_one_must_be(prepare, tmp_path):
    seen: dict[str, Any] = {}

    def mine(corpus_dir: Path, output_dir: Path, languages: list[str]) -> Any:
        seen.update(languages=languages, was_there=output_dir.is_dir())
        return tables(corpus_dir, "a")

    prepare(mine)
    assert list(import_lhotse_corpus("mine", tmp_path, ["languages=[de, en]"])) == ["mine"]
    assert seen == {"languages": ["de", "en"], "was_there": True}
    with pytest.raises(AsrError, match="prepare_mine needs 'languages', too; add --set languages=VALUE"):
        import_lhotse_corpus("mine", tmp_path)
    with pytest.raises(AsrError, match="takes no 'language'; did you mean 'languages'"):
        import_lhotse_corpus("mine", tmp_path, ["language=de"])
    with pytest.raises(AsrError, match="'languages' is not name=value"):
        import_lhotse_corpus("mine", tmp_path, ["languages"])
    with pytest.raises(AsrError, match="the value is not valid YAML"):
        import_lhotse_corpus("mine", tmp_path, ["languages=[de"])


def test_whatever_goes_wrong_is_one_line(prepare, tmp_path):
    def mine(corpus_dir: Path) -> Any:
        raise AssertionError

    prepare(mine)
    with pytest.raises(AsrError, match=r"cannot prepare mine from it \(AssertionError: raise AssertionError\); check"):
        import_lhotse_corpus("mine", tmp_path)
    with pytest.raises(AsrError, match="lhotse has no corpus 'mined'; did you mean 'mine'"):
        import_lhotse_corpus("mined", tmp_path)
    with pytest.raises(ManifestError, match="there is no such folder"):
        import_lhotse_corpus("mine", tmp_path / "gone")
    prepare(lambda corpus_dir: {"recordings": [], "supervisions": None})
    with pytest.raises(ManifestError, match="finds no supervisions"):
        import_lhotse_corpus("mine", tmp_path)


def test_without_lhotse_the_extra_is_named(monkeypatch, tmp_path):
    for module in ("lhotse", "lhotse.recipes"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(AsrError, match=r"pip install 'asr-toolkit\[lhotse\]'"):
        import_lhotse_corpus("yesno", tmp_path)
