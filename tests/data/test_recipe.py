"""What recipes share: finding or fetching a corpus, and errors of one line."""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from asr.data.recipe import Source, exit_status, run_recipe
from asr.errors import AsrError, DownloadError


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A corpus of one file, packed in an archive that a file:// address serves."""
    (tmp_path / "served" / "corpus").mkdir(parents=True)
    (tmp_path / "served" / "corpus" / "list.txt").write_text("a b c\n")
    archive = tmp_path / "served" / "corpus.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "served" / "corpus", "corpus")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return Source("Example", "list.txt", archive.as_uri(), "corpus", digest)


def test_a_copy_is_found_in_the_folder_or_one_below(source: Source, tmp_path: Path):
    assert source.locate(tmp_path / "served" / "corpus") == tmp_path / "served" / "corpus"
    assert source.locate(tmp_path / "served") == tmp_path / "served" / "corpus"


def test_an_absent_copy_is_fetched_only_on_demand(source: Source, tmp_path: Path):
    with pytest.raises(AsrError, match=r"no Example corpus here, expected list\.txt inside"):
        source.locate(tmp_path / "new")
    assert (source.locate(tmp_path / "new", fetch=True) / "list.txt").read_text() == "a b c\n"


def test_an_archive_with_another_checksum_is_refused(source: Source, tmp_path: Path):
    with pytest.raises(DownloadError, match="sha256"):
        replace(source, sha256="0" * 64).locate(tmp_path / "new", fetch=True)


def test_the_command_line_ends_in_one_line_and_status_1(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    unreachable = replace(source, url=(tmp_path / "nowhere.tar.gz").as_uri())
    arguments = ["prepare.py", "--corpus", str(tmp_path / "new"), "--out", str(tmp_path / "out"), "--download"]
    monkeypatch.setattr("sys.argv", arguments)
    assert run_recipe(lambda *_: None, unreachable, "Example") == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1


def test_the_command_line_hands_the_found_corpus_to_the_recipe(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls = []
    monkeypatch.setattr("sys.argv", ["prepare.py", "--corpus", str(tmp_path / "served"), "--out", str(tmp_path / "o")])
    assert run_recipe(lambda corpus, out: calls.append((corpus, out)), source, "Example") == 0
    assert calls == [(tmp_path / "served" / "corpus", tmp_path / "o")]


def test_ctrl_c_says_how_to_go_on(capsys: pytest.CaptureFixture[str]):
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert exit_status(interrupted) == 130
    assert "run the same command again" in capsys.readouterr().err
