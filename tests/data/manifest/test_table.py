"""A large manifest gives the rows of a small one, from an index that is made once and never of other content."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr.data.manifest import ManifestTable, index, line_files, open_manifest, read_manifest
from asr.data.manifest.table import Selection, durations_of, total_seconds
from asr.errors import ManifestError
from asr.types import Utterance

NUM_ROWS = 700


def content_hash(rows: Sequence[Utterance]) -> str:
    """What the hash of a manifest is, said in other words."""
    lines = (json.dumps([row.id, row.text, row.duration, row.start]) + "\n" for row in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.fixture
def rows(tmp_path) -> list[Utterance]:
    return [
        Utterance(f"u{number}", tmp_path / f"{number}.wav", 0.5 + number / 7, f"te\u017ft {number}", speaker="s")
        for number in range(NUM_ROWS)
    ]


@pytest.fixture
def manifest(tmp_path, rows) -> Path:
    """700 rows with blank lines among them."""
    path = tmp_path / "train.jsonl"
    lines = [
        json.dumps({"id": row.id, "audio": row.audio.name, "duration": row.duration, "text": row.text, "speaker": "s"})
        for row in rows
    ]
    path.write_text("\n".join(lines[:300]) + "\n\n \n" + "\n".join(lines[300:]), encoding="utf-8")
    return path


@pytest.fixture
def as_large(monkeypatch, tmp_path) -> None:
    """Files of any size are treated as too large to hold, in chunks of few rows."""
    monkeypatch.setattr(line_files, "HELD_BYTES", 0)
    monkeypatch.setattr(index, "CHUNK_BYTES", 5000)
    monkeypatch.setattr(index, "POOLED_CHUNKS", 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


def indices(manifest: Path) -> list[Path]:
    return list((manifest.parent / f".{manifest.name}.index").iterdir())


def refuse_to_build(*_: object) -> None:
    raise AssertionError("the index was to be found")


def test_a_table_is_a_sequence_of_the_rows(manifest, rows):
    table = open_manifest(manifest)
    assert list(table) == rows
    assert (len(table), table[3], table[-1], table[10:13], table[::300]) == (
        NUM_ROWS, rows[3], rows[-1], rows[10:13], rows[::300],
    )  # fmt: skip
    with pytest.raises(IndexError):
        table[NUM_ROWS]
    assert durations_of(table).tolist() == [row.duration for row in rows]
    assert table.content_hash == content_hash(rows)
    assert not (manifest.parent / f".{manifest.name}.index").exists(), "a small manifest leaves nothing behind"


def test_a_large_one_is_the_same_table_and_its_index_is_mapped(manifest, rows, as_large):
    table = open_manifest(manifest)
    assert list(table) == [table[number] for number in range(NUM_ROWS)] == rows
    assert table.content_hash == content_hash(rows)
    for array in (table.row_index.offsets, table.row_index.durations):
        assert isinstance(array, np.memmap)
    assert table.folder in indices(manifest)


def test_several_processes_make_the_same_index(manifest, rows, as_large, monkeypatch):
    monkeypatch.setattr(index, "POOLED_CHUNKS", 2)
    monkeypatch.setattr(index, "num_cores", lambda: 2)
    table = open_manifest(manifest)
    assert list(table) == rows
    assert table.content_hash == content_hash(rows)


def test_an_index_is_made_once(manifest, rows, as_large, monkeypatch):
    open_manifest(manifest)
    monkeypatch.setattr(index, "build_index", refuse_to_build)
    assert list(open_manifest(manifest)) == rows


def test_after_a_change_of_the_manifest_a_new_index_takes_the_place_of_the_old(manifest, rows, as_large):
    first = open_manifest(manifest).folder
    status = manifest.stat()
    content = manifest.read_bytes().replace(b"u5", b"v5")
    manifest.write_bytes(content)
    os.utime(manifest, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a copy that keeps times would look
    assert open_manifest(manifest)[5].id == "v5"
    assert len(indices(manifest)) == 1
    assert indices(manifest) != [first]


def test_a_damaged_index_is_made_again(manifest, rows, as_large):
    folder = open_manifest(manifest).folder
    for name in ("offsets.npy", "index.json"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
        assert list(open_manifest(manifest)) == rows
        assert (folder / name).read_bytes() == whole


def test_beside_a_folder_that_cannot_be_written_the_index_is_kept_at_home(manifest, rows, as_large, tmp_path):
    (manifest.parent / f".{manifest.name}.index").write_text("no folder can be made here")
    table = open_manifest(manifest)
    assert list(table) == rows
    assert tmp_path / "home" in table.folder.parents
    assert open_manifest(manifest).folder == table.folder


def test_without_any_folder_to_write_the_index_lives_in_memory(manifest, rows, as_large, tmp_path):
    (manifest.parent / f".{manifest.name}.index").write_text("")
    (tmp_path / "home").write_text("")
    table = open_manifest(manifest)
    assert table.folder is None
    assert list(table) == rows


@pytest.mark.usefixtures("as_large")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "new", "audio": "a"}', "m.jsonl:703: key 'duration' is missing"),
        ('{"id": "u5", "audio": "a", "duration": 1}', "m.jsonl:703: id 'u5' already stands in line 6"),
    ],
)
def test_faults_far_down_a_large_manifest_are_named_by_line(manifest, line, message):
    bad = manifest.with_name("m.jsonl")
    bad.write_text(f"{manifest.read_text()}\n{line}\n")
    with pytest.raises(ManifestError) as caught:
        open_manifest(bad)
    assert message in str(caught.value)
    assert not (bad.parent / f".{bad.name}.index").exists()


def test_equal_hashes_of_different_ids_are_no_fault(manifest, rows, monkeypatch):
    monkeypatch.setattr(index, "_id_hash", lambda id: bytes(8))
    assert list(open_manifest(manifest)) == rows


def test_a_file_that_changes_while_it_is_in_use_is_told(manifest, as_large):
    table = open_manifest(manifest)
    manifest.write_bytes(manifest.read_bytes()[:1000])
    with pytest.raises(ManifestError, match=r"train\.jsonl: has changed while it was in use; start again"):
        table[NUM_ROWS - 1]
    with pytest.raises(ManifestError, match="changed while it was in use"):
        table[:20]
    manifest.write_bytes(b"x" * 100_000)
    with pytest.raises(ManifestError, match=r"changed while it was in use \(the line is not JSON"):
        table[0]


def test_a_small_manifest_may_change_once_it_is_open(manifest, rows):
    table = open_manifest(manifest)
    manifest.unlink()
    assert list(table) == rows


def _ids(table: Sequence[Utterance], numbers: list[int]) -> list[str]:
    return [table[number].id for number in numbers]


@pytest.mark.parametrize("is_large", [False, True])
def test_another_process_gets_the_table_and_not_a_copy_of_a_large_index(manifest, request, is_large):
    if is_large:
        request.getfixturevalue("as_large")
    table = open_manifest(manifest)
    table[0]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_ids, (table, [0, 699])) == ["u0", "u699"]
    if is_large:
        shutil.rmtree(table.folder)
        with pytest.raises(ManifestError, match="index was removed"):
            ManifestTable.__new__(ManifestTable).__setstate__(table.__getstate__())


def test_processes_that_were_forked_read_what_they_ask_for(manifest, rows, as_large):
    table = open_manifest(manifest)
    table[0]
    numbers = list(range(0, NUM_ROWS, 3))
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.starmap(_ids, [(table, numbers)] * 6)
    assert found == [[rows[number].id for number in numbers]] * 6


@pytest.mark.parametrize("left_out", [[], [0], [699], [0, 1, 2, 50, 698, 699], list(range(1, 700))])
def test_a_selection_is_all_rows_but_a_few(manifest, rows, left_out):
    for source in (open_manifest(manifest), rows):
        selection = Selection(source, np.array(left_out, dtype=np.int64))
        expected = [row for number, row in enumerate(rows) if number not in left_out]
        assert list(selection) == expected
        assert len(selection) == len(expected)
        everything = np.arange(len(expected))
        assert durations_of(selection)[everything].tolist() == [row.duration for row in expected]
        assert total_seconds(selection) == pytest.approx(sum(row.duration for row in expected))


def test_a_byte_order_mark_is_no_part_of_the_first_row(manifest, rows, as_large):
    manifest.write_bytes(b"\xef\xbb\xbf" + manifest.read_bytes())
    assert read_manifest(manifest) == rows
    assert open_manifest(manifest)[0] == replace(rows[0])
