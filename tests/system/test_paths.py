"""Which path was perhaps meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr.system.paths import meant, nearest, where_to_look


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("recipes/an5/model", "recipes/an4/model"),
        ("recipe/an4/modle", "recipes/an4/model"),
        ("recipes/an4/model/x", None),
        ("elsewhere/an4", None),
        ("recipes/an4/model/config.yml", "recipes/an4/model/config.yaml"),
        ("recipes/an4/model/config.yaml/x", None),
        ("recipes", None),
    ],
)
def test_every_name_of_a_path_may_be_misspelt(wrong: str, right: str | None, tmp_path: Path) -> None:
    (tmp_path / "recipes/an4/model").mkdir(parents=True)
    (tmp_path / "recipes/an4/model/config.yaml").touch()
    assert nearest(tmp_path / wrong) == (None if right is None else tmp_path / right)
    assert meant(tmp_path / wrong) == ("" if right is None else f"; did you mean '{tmp_path / right}'?")


def test_a_relative_path_of_nothing_says_where_such_paths_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    assert where_to_look(Path("data/an4.jsonl")) == f"; relative paths start at the working directory, {tmp_path}"
    assert where_to_look(Path("trian.jsonl")) == "; did you mean 'train.jsonl'?"
    assert where_to_look(tmp_path / "data") == "; check the path"
