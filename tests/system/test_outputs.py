"""Outputs are looked at before work begins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asr.cli.main import main
from asr.errors import AsrError, UsageError
from asr.system.outputs import check_folder, check_inside, check_outputs


def test_an_output_that_is_read_is_refused_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("a")
    os.link(tmp_path / "a", tmp_path / "hard")
    for name in ("a", "link", "hard", "../" + tmp_path.name + "/a"):
        with pytest.raises(UsageError, match="which is read"):
            check_outputs([tmp_path / name], [None, "somewhere", tmp_path / "a"])


def test_an_output_that_is_new_or_read_by_nobody_is_fine(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    check_outputs([tmp_path / "a", tmp_path / "new", tmp_path / "sub" / "new", None], [tmp_path / "b"])


def test_two_outputs_in_one_file_are_refused_but_not_in_a_device(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(UsageError, match="two outputs"):
        check_outputs([tmp_path / "a", tmp_path / "link"], [])
    check_outputs([Path(os.devnull), Path(os.devnull)], [Path(os.devnull)])


def test_in_a_folder_that_is_read_as_a_whole_only_files_of_ones_own_are_written_over(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").touch()
    check_inside([tmp_path / "new"], tmp_path)
    check_inside([tmp_path / "sub" / "a"], tmp_path, mine=[tmp_path / "sub" / "a"])
    with pytest.raises(UsageError, match="which is read"):
        check_inside([tmp_path / "sub" / "a"], tmp_path)


def test_what_cannot_be_written_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path, reason in (
        (tmp_path / "folder", "is a folder"),
        (tmp_path / "file" / "a", f"{tmp_path / 'file'} is no folder"),
        (tmp_path / "file" / "b" / "a", f"{tmp_path / 'file'} is no folder"),
    ):
        with pytest.raises(AsrError, match=reason):
            check_outputs([path], [])


def test_a_read_only_folder_is_an_error_but_a_writable_file_in_it_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) == tmp_path / "file")  # root may write everywhere
    check_outputs([tmp_path / "file"], [])
    for path in (tmp_path / "new", tmp_path / "sub" / "new"):
        with pytest.raises(AsrError, match=f"{tmp_path} is read-only; choose another place"):
            check_outputs([path], [])
    with pytest.raises(AsrError, match="is read-only"):
        check_folder(tmp_path / "sub" / "sub")


@pytest.mark.parametrize(
    "line",
    [
        "transcribe audio/0.wav --model model --output-dir hyp.txt",
        "transcribe audio/0.wav --model model --output-dir hyp.txt/below",
        "align audio/0.wav ref.txt --model model --output-dir hyp.txt",
        "evaluate model dev.jsonl --out hyp.txt",
        "data cut model dev.jsonl --out hyp.txt/pieces.jsonl",
    ],
)
def test_it_is_told_before_the_model_loads(
    line: str, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("asr.bundle.bundle.Bundle.load", load)
    with pytest.raises(SystemExit) as leaving:
        main(line.split())
    assert leaving.value.code == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.endswith(f"{workspace / 'hyp.txt'} is no folder; choose another place")
