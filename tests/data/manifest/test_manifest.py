"""Manifests survive a round trip, and every kind of bad line is named with its number."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.data.manifest import manifest_hash, read_manifest, write_manifest
from asr.errors import ManifestError
from asr.types import Utterance

GOOD = {"id": "a", "audio": "a.wav", "duration": 1.5}

seconds = st.floats(min_value=0, max_value=1e9, allow_nan=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\\\0"), min_size=1).filter(
    lambda name: name not in (".", "..")
)
utterances = st.builds(
    Utterance,
    id=texts.filter(str.strip),
    audio=st.lists(names, min_size=1, max_size=3).map(lambda parts: Path("/corpus", *parts)),
    duration=seconds,
    text=texts,
    start=seconds,
    speaker=st.none() | texts,
    lang=st.none() | texts,
)


def manifest(folder: Path, *rows: object) -> Path:
    path = folder / "train.jsonl"
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


@given(st.lists(utterances, min_size=1, max_size=5, unique_by=lambda utterance: utterance.id))
def test_what_is_written_is_read_back_equal(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "round" / "trip.jsonl"
    write_manifest(path, rows)
    assert read_manifest(path) == rows


def test_a_manifest_moves_together_with_its_audio(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    write_manifest(old / "lists" / "train.jsonl", [Utterance("a", old / "wav" / "a.wav", 1.0)])
    shutil.move(old, new)
    assert read_manifest(new / "lists" / "train.jsonl")[0].audio == new / "wav" / "a.wav"


def test_audio_is_found_from_a_manifest_behind_a_symbolic_link(tmp_path):
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "data").symlink_to(tmp_path / "disk" / "deep")
    audio = tmp_path / "a.wav"
    audio.touch()
    write_manifest(tmp_path / "data" / "train.jsonl", [Utterance("a", audio, 1.0)])
    (row,) = read_manifest(tmp_path / "data" / "train.jsonl")
    assert row.audio.exists()


def test_defaults_are_left_out_and_keys_keep_their_order(tmp_path):
    path = tmp_path / "m.jsonl"
    write_manifest(path, [Utterance("a", tmp_path / "a.wav", 1.5, speaker="s", text="hi")])
    assert path.read_text() == '{"id": "a", "audio": "a.wav", "duration": 1.5, "text": "hi", "speaker": "s"}\n'


def test_a_byte_order_mark_blank_lines_and_windows_line_ends_are_accepted(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n")
    assert [row.id for row in read_manifest(path)] == ["a"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{oops\n", "not JSON"),
        ("[" * 100_000 + "\n", "not JSON"),
        ("[1]\n", "not a JSON object"),
        (
            '{"id": "b", "audio": "a.wav", "duration": 1, "text": "hi", "text": "ho"}\n',
            "the key 'text' stands there twice",
        ),
        ({**GOOD, "txet": "hi"}, "unknown key 'txet'; did you mean 'text'?"),
        ({"shard": "a.tar", "index": "a.jsonl"}, "this is an index of shards, which only `data.train`"),
        ({"id": "a", "duration": 1}, "key 'audio' is missing"),
        ({**GOOD, "text": 5}, "'text' must be a string, not 5"),
        ({**GOOD, "text": None}, "'text' must be a string, not null"),
        ({**GOOD, "id": " "}, "'id' is empty"),
        ({**GOOD, "audio": ""}, "'audio' is not a path"),
        ({**GOOD, "duration": "1.5"}, "'duration' must be a number of seconds, not \"1.5\""),
        ({**GOOD, "duration": True}, "'duration' must be a number"),
        ({**GOOD, "duration": -1}, "'duration' is -1; it must be finite and not negative"),
        ({**GOOD, "duration": float("nan")}, "'duration' is nan"),
        ({**GOOD, "start": float("inf")}, "'start' is inf"),
        ({**GOOD, "duration": 10**400}, "'duration' is"),
    ],
)
def test_a_bad_line_is_named_with_its_number(tmp_path, row, message):
    path = manifest(tmp_path, {**GOOD, "id": "first"}, row)
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"id": "\xff"}')
    with pytest.raises(ManifestError, match=r"m\.jsonl:1: the line is not UTF-8"):
        read_manifest(path)


def test_equal_ids_are_named_with_both_lines(tmp_path):
    path = manifest(tmp_path, GOOD, {**GOOD, "id": "b"}, GOOD)
    with pytest.raises(ManifestError, match=r":3: id 'a' already stands in line 1"):
        read_manifest(path)


def test_an_empty_manifest_is_an_error(tmp_path):
    with pytest.raises(ManifestError, match="empty"):
        read_manifest(manifest(tmp_path, "\n"))


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_a_manifest_that_is_no_file_is_an_error(tmp_path, name):
    with pytest.raises(ManifestError, match="cannot read the manifest"):
        read_manifest(tmp_path / name)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no utterances"),
        ([Utterance("a", Path("/a"), 1.0)] * 2, "id 'a' comes twice"),
        ([Utterance("a", Path("/a"), float("nan"))], "'a' cannot be written: 'duration' is nan"),
        ([Utterance("a", Path("/a"), 1.0, text="\ud800")], "'a' cannot be written"),
    ],
)
def test_nothing_is_written_that_could_not_be_read_back(tmp_path, rows, message):
    with pytest.raises(ManifestError, match=message):
        write_manifest(tmp_path / "m.jsonl", rows)
    assert not (tmp_path / "m.jsonl").exists()


def test_the_hash_follows_the_content_and_not_the_place(tmp_path):
    def hash_of(folder: str, **changes: object) -> str:
        row = Utterance(**{"id": "a", "audio": tmp_path / folder / "a.wav", "duration": 1, "text": "hi", **changes})
        write_manifest(tmp_path / "list.jsonl", [row])
        return manifest_hash(tmp_path / "list.jsonl")

    assert hash_of("here") == hash_of("there", duration=1.0, speaker="s")
    others = {hash_of("here", **change) for change in ({"id": "b"}, {"text": "ho"}, {"duration": 2}, {"start": 1.0})}
    assert len(others - {hash_of("here")}) == 4


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_manifest_in_utf_16_is_called_so(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes('\ufeff{"id": "a", "audio": "a.wav", "duration": 1.0}\n'.encode(encoding))
    with pytest.raises(ManifestError, match=r"m\.jsonl:1: the line is UTF-16, not UTF-8; convert the file"):
        read_manifest(path)


@pytest.mark.parametrize("suffix", [".csv", ".TSV"])
def test_a_table_is_pointed_to_the_import(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows{suffix}"
    path.write_text("audio,text\na.wav,yes\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=r"a table, no manifest; `asr data import .*rows.* --out rows\.jsonl`"):
        read_manifest(path)
