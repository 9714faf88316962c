"""What recipes share: finding or fetching a corpus, and errors of one line."""

from __future__ import annotations

import hashlib
import itertools
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.corpora.recipe import Source, exit_status, pick_speakers, read_table, run_recipe, run_recipe_of_parts
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


@pytest.mark.parametrize("checksum", ["sha256", "md5"])
def test_an_archive_with_another_checksum_is_refused(source: Source, tmp_path: Path, checksum: str):
    with pytest.raises(DownloadError, match=checksum):
        replace(source, **{checksum: "0" * 64}).locate(tmp_path / "new", fetch=True)


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


def test_a_corpus_behind_a_form_has_an_address_but_no_download(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    behind_a_form = replace(source, url="https://example.org/form", free=False)
    arguments = ["prepare.py", "--corpus", str(tmp_path / "new"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", arguments)
    assert run_recipe(lambda *_: None, behind_a_form, "Example") == 1
    assert capsys.readouterr().err.endswith("get it from https://example.org/form and unpack it\n")
    monkeypatch.setattr("sys.argv", [*arguments, "--download"])
    with pytest.raises(SystemExit):
        run_recipe(lambda *_: None, behind_a_form, "Example")
    assert "unrecognized arguments: --download" in capsys.readouterr().err


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Source]:
    """Two parts of a corpus, each a set in a folder of its own, in two archives that share the corpus folder."""
    found = {}
    for name in ("first", "second"):
        folder = tmp_path / "served" / name / "corpus" / name
        folder.mkdir(parents=True)
        (folder / "list.txt").write_text(name)
        archive = tmp_path / "served" / f"{name}.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder.parent, "corpus")
        digest = hashlib.md5(archive.read_bytes()).hexdigest()
        found[name] = Source(f"Example {name}", name, archive.as_uri(), "corpus", md5=digest)
    return found


def test_parts_are_fetched_where_they_are_absent_and_handed_over(
    parts: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls = []
    for names in (["second"], []):
        options = ["--parts", *names] if names else []
        arguments = ["--corpus", str(tmp_path / "new"), "--out", str(tmp_path / "out"), "--download", *options]
        monkeypatch.setattr("sys.argv", ["prepare.py", *arguments])
        assert run_recipe_of_parts(lambda folders, out: calls.append((folders, out)), parts, "Example") == 0
        (tmp_path / "served" / "second.tar.gz").unlink(missing_ok=True)  # what is there is not fetched again
    corpus = tmp_path / "new" / "corpus"
    assert calls == [({"second": corpus}, tmp_path / "out"), (dict.fromkeys(parts, corpus), tmp_path / "out")]
    assert [(corpus / name / "list.txt").read_text() for name in parts] == list(parts)


def test_a_part_nobody_knows_is_wrong_usage(
    parts: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.argv", ["prepare.py", "--corpus", ".", "--out", ".", "--parts", "third"])
    with pytest.raises(SystemExit, match="2"):
        run_recipe_of_parts(lambda *_: None, parts, "Example")
    assert "invalid choice: 'third'" in capsys.readouterr().err


def test_a_table_keeps_order_spaces_inside_values_and_no_blank_lines(tmp_path: Path):
    (tmp_path / "text").write_text("b2\tWE  CALL IT\r\n\nb1 BEAR \n")
    assert list(read_table(tmp_path / "text").items()) == [("b2", "WE  CALL IT"), ("b1", "BEAR")]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a x\n\na y\n", ":3: 'a' comes twice"),
        (b"a x\nb\n", ":2: expected a key and a value, found 'b'"),
        (b"a \xff\n", ": not UTF-8"),
        (None, ": No such file or directory"),
    ],
)
def test_a_broken_table_is_named_with_its_line(tmp_path: Path, content: bytes | None, problem: str):
    if content is not None:
        (tmp_path / "text").write_bytes(content)
    with pytest.raises(AsrError) as raised:
        read_table(tmp_path / "text")
    assert str(raised.value).startswith(f"{tmp_path / 'text'}{problem}")


@given(st.integers(1, 40), st.data())
def test_speakers_are_picked_at_equal_distances_and_the_same_each_time(count: int, data: st.DataObject):
    order = [f"s{number:03d}" for number in range(data.draw(st.integers(count, 200)))]
    picked = pick_speakers(order, count, 1, "example")
    assert picked == pick_speakers(order, count, 1, "example")
    places = [order.index(speaker) for speaker in sorted(picked)]
    gaps = {after - before for before, after in itertools.pairwise(places)}
    assert len(places) == count
    assert gaps <= {len(order) // count, -(-len(order) // count)}


def test_too_few_speakers_to_pick_from_are_an_error():
    with pytest.raises(AsrError, match="the corpus has 2 training speakers, too few to keep 3"):
        pick_speakers(["a", "b"], 3, 1)


def test_ctrl_c_says_how_to_go_on(capsys: pytest.CaptureFixture[str]):
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert exit_status(interrupted) == 130
    assert "run the same command again" in capsys.readouterr().err
