"""Which recordings an argument means, and where their results go."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr.audio.raw import RawFormat
from asr.data.manifest import write_manifest
from asr.errors import AudioError
from asr.transcribe.inputs import OutputClashError, find_all, plan_outputs, standard_input
from asr.transcribe.recordings import FileRecording
from asr.types import Utterance


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "b.wav",
        "x/a.FLAC",
        "x/y/c.mp3",
        "x/y/talk.m4a",
        "x/notes.txt",
        "x/d.raw",
        ".hidden.wav",
        ".cache/d.wav",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def find(argument: Path | str, raw: RawFormat | None = None) -> list[FileRecording]:
    """What one argument means; nothing may be wrong with it."""
    recordings, problems = find_all([str(argument)], raw=raw)
    assert problems == []
    return recordings


def problem(argument: Path | str) -> str:
    """The one thing wrong with an argument that means nothing."""
    recordings, (line,) = find_all([str(argument)])
    assert recordings == []
    assert "\n" not in line
    return line


def names(recordings: list[FileRecording]) -> list[str]:
    return [recording.relative.as_posix() for recording in recordings]


def test_a_folder_means_all_audio_below_it_but_hidden_files(tree: Path) -> None:
    assert names(find(tree)) == ["b.wav", "x/a.FLAC", "x/y/c.mp3", "x/y/talk.m4a"]


def test_a_file_is_taken_whatever_its_suffix(tree: Path) -> None:
    assert find(tree / "x/notes.txt") == [FileRecording(tree / "x/notes.txt", Path("notes.txt"))]


def test_a_glob_keeps_the_folders_below_its_fixed_part(tree: Path) -> None:
    assert names(find(f"{tree}/x/**/*.mp3")) == ["y/c.mp3"]
    assert names(find(f"{tree}/*/a.*")) == ["x/a.FLAC"]


def test_a_name_with_brackets_that_exists_is_no_glob(tmp_path: Path) -> None:
    (tmp_path / "take[1].wav").touch()
    assert names(find(tmp_path / "take[1].wav")) == ["take[1].wav"]


def test_arguments_that_mean_nothing_are_told(tree: Path) -> None:
    (tree / "empty").mkdir()
    (tree / "folder.wav").mkdir()
    assert "empty: no audio in this folder; known suffixes: " in problem(tree / "empty")
    assert "folder.wav: no audio in this folder" in problem(tree / "folder.wav")
    assert problem(f"{tree}/*.ogg") == f"{tree}/*.ogg: no file matches"
    assert "is no pattern" in problem(f"{tree}/a**b/*.wav")
    assert problem("") == "one of the files has an empty name"
    assert problem("a" * 300) == f"{'a' * 300}: File name too long"
    assert "gone.jsonl: cannot read the manifest" in problem(tree / "gone.jsonl")


def test_one_bad_argument_does_not_hide_the_others(tree: Path) -> None:
    recordings, problems = find_all([f"{tree}/*.ogg", str(tree / "b.wav")])
    assert names(recordings) == ["b.wav"]
    assert len(problems) == 1


def test_a_link_to_nothing_and_a_missing_file_are_told_when_they_are_read(tree: Path) -> None:
    (tree / "x/link.wav").symlink_to("gone.wav")
    found = [*find(tree / "x"), *find(tree / "none.wav")]
    assert names(found) == ["a.FLAC", "link.wav", "y/c.mp3", "y/talk.m4a", "none.wav"]
    with pytest.raises(AudioError, match=r"link\.wav: is a link to gone\.wav, which does not exist"):
        found[1].info()
    with pytest.raises(AudioError, match=r"none\.wav: there is no such file"):
        next(found[-1].blocks(16000, 1.0))


def test_a_folder_that_may_not_be_searched_is_told_and_the_others_are_done(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def refuse(path: str) -> object:  # the mode of a folder does not keep root out
        if str(path).endswith("y"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    recordings, problems = find_all([str(tree)])
    assert names(recordings) == ["b.wav", "x/a.FLAC"]
    assert problems == [f"{tree}/x/y: cannot be searched (Permission denied)"]


def test_raw_files_are_those_whose_suffix_names_no_format(tree: Path) -> None:
    raw = RawFormat(8000)
    assert {recording.relative.name: recording.raw for recording in find(tree / "x", raw)} == {
        "a.FLAC": None,
        "d.raw": raw,
        "c.mp3": None,
        "talk.m4a": None,
    }
    assert find(tree / "x/notes.txt", raw)[0].raw == raw


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", np.linspace(0, 0.5, 16000), 16000)
    rows = [
        Utterance("spk/one.1", tmp_path / "a.wav", 0.25, start=0.5),
        Utterance("spk/one.2", tmp_path / "a.wav", 9.0, start=0.75),
        Utterance("late", tmp_path / "a.wav", 1.0, start=3.0),
    ]
    write_manifest(tmp_path / "m.jsonl", rows)
    return tmp_path / "m.jsonl"


def test_rows_of_a_manifest_are_stretches_named_by_their_ids(manifest: Path) -> None:
    one, two, _ = find(manifest)
    assert [one.name, two.name] == ["spk/one.1", "spk/one.2"]
    np.testing.assert_allclose(
        np.concatenate(list(one.blocks(16000, 0.1))), np.linspace(0, 0.5, 16000)[8000:12000], atol=1e-4
    )
    assert sum(map(len, two.blocks(16000, 0.1))) == 4000
    outputs = [job.outputs["txt"].as_posix() for job in plan_outputs([one, two], ["txt"], Path("out"))]
    assert outputs == ["out/spk%2Fone.1.txt", "out/spk%2Fone.2.txt"]


def test_errors_of_a_row_name_it(manifest: Path) -> None:
    with pytest.raises(
        AudioError, match=r"^utterance 'late': .*a\.wav: starts at 3\.000 s asked for, but ends at 1\.000"
    ):
        list(find(manifest)[2].blocks(16000, 1.0))


@given(st.lists(st.text(min_size=1, max_size=20).filter(str.strip), min_size=1, max_size=8, unique=True))
def test_ids_never_lead_out_of_the_output_folder_nor_to_one_file(ids: list[str]) -> None:
    rows = "".join(json.dumps({"id": id, "audio": "a.wav", "duration": 1.0}) + "\n" for id in ids)
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder, "m.jsonl")
        manifest.write_text(rows, encoding="utf-8")
        recordings, problems = find_all([str(manifest)])
    assert problems == []
    paths = [job.outputs["txt"] for job in plan_outputs(recordings, ["txt"], Path("out"))]
    assert len(set(paths)) == len(ids)
    for path in paths:
        assert path.parent == Path("out")
        assert os.path.normpath(path) == str(path)
        assert not path.name.startswith(".")


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def test_standard_input_is_a_file_while_it_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 48000), 16000)
    with standard_input(["-"], io.BytesIO(path.read_bytes())) as copy:
        assert copy is not None
        (recording,), problems = find_all(["-"], stdin=copy)
        assert (recording.name, problems) == ("stdin", [])
        assert sum(map(len, recording.blocks(16000, 1.0))) == 48000
        (job,) = plan_outputs([recording], ["txt"], Path("out"))
        assert job.outputs == {"txt": Path("out/stdin.txt")}
    assert not copy.exists()
    assert not copy.parent.exists()


def test_standard_input_is_left_alone_where_nobody_names_it() -> None:
    stream = io.BytesIO(b"text")
    with standard_input(["a.wav"], stream) as copy:
        assert copy is None
    assert stream.read() == b"text"


def test_standard_input_may_be_raw() -> None:
    raw = RawFormat(16000, encoding="u8")
    with standard_input(["-"], io.BytesIO(bytes(range(256)))) as copy:
        (recording,), _ = find_all(["-"], raw=raw, stdin=copy)
        (block,) = recording.blocks(16000, 1.0)
    np.testing.assert_allclose(block, np.arange(-128, 128) / 128, atol=1e-7)


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [
        (lambda: io.BytesIO(b""), r"^standard input: the file is empty \(0 bytes\)"),
        (lambda: io.BytesIO(b"no audio at all"), "^standard input: cannot be read as audio"),
        (Terminal, "^standard input is a terminal; pipe a recording into it"),
    ],
)
def test_what_is_wrong_with_standard_input_is_told(stream: Callable[[], BinaryIO], complaint: str) -> None:
    with pytest.raises(AudioError, match=complaint), standard_input(["-"], stream()) as copy:
        find_all(["-"], stdin=copy)[0][0].info()


def test_a_full_disk_is_told_and_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with (
        pytest.raises(AudioError, match=r"standard input: .* \(No space left on device\)"),
        standard_input(["-"], Endless()),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_outputs_mirror_the_tree_with_the_suffix_replaced(tree: Path) -> None:
    jobs = plan_outputs(find(tree), ["txt", "json"], Path("out"))
    assert [path.as_posix() for path in jobs[1].outputs.values()] == ["out/x/a.txt", "out/x/a.json"]


def test_without_a_folder_jobs_have_no_outputs_and_are_never_done(tree: Path) -> None:
    jobs = plan_outputs(find(tree), ["txt"], None)
    assert [job.recording.relative.name for job in jobs] == ["b.wav", "a.FLAC", "c.mp3", "talk.m4a"]
    assert not any(job.outputs or job.is_done for job in jobs)


def test_dots_inside_a_name_stay() -> None:
    (job,) = plan_outputs([FileRecording(Path("a.part1.wav"), Path("a.part1.wav"))], ["txt"], Path("out"))
    assert job.outputs["txt"] == Path("out/a.part1.txt")


def test_recordings_of_one_stem_keep_their_suffixes_in_the_names_of_outputs(tmp_path: Path) -> None:
    names = ["a.wav", "a.flac", "b.wav", "sub/a.wav"]
    jobs = plan_outputs([FileRecording(tmp_path / name, Path(name)) for name in names], ["txt", "json"], Path("out"))
    assert [job.outputs["txt"] for job in jobs] == [
        Path("out", name) for name in ("a.wav.txt", "a.flac.txt", "b.txt", "sub/a.txt")
    ]
    assert jobs[1].outputs["json"] == Path("out/a.flac.json")


@pytest.mark.parametrize("names", [["x/a.wav", "y/a.wav"], ["x/a.wav", "x/a.mp3", "x/a.wav.ogg"]])
def test_two_recordings_with_one_output_are_refused(names: list[str], tmp_path: Path) -> None:
    recordings = [FileRecording(tmp_path / name, Path(Path(name).name)) for name in names]
    with pytest.raises(OutputClashError, match=r"a\.wav and .*/a\.wav.* would both become out/a\.wav\.txt"):
        plan_outputs(recordings, ["txt"], Path("out"))


def test_links_in_a_folder_are_recordings_of_their_own_and_linked_folders_are_searched(tmp_path: Path) -> None:
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("tree/a.wav", "elsewhere/far.wav"):
        (tmp_path / name).touch()
    (tmp_path / "tree/sub/link.wav").symlink_to("../a.wav")
    (tmp_path / "tree/sub/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "tree/sub/round").symlink_to(tmp_path / "tree")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "tree/sub")
    found = find(tmp_path / "tree")
    assert names(found) == ["a.wav", "sub/link.wav", "sub/linked/far.wav"]
    assert len(plan_outputs(found, ["txt"], None)) == 3


def test_one_id_for_two_stretches_is_refused(tmp_path: Path) -> None:
    recordings = [FileRecording(tmp_path / "a.wav", Path("u"), "u", start, 1.0) for start in (0.0, 2.0)]
    with pytest.raises(OutputClashError, match=r"'u' of .*a\.wav and 'u' of .*a\.wav would both become out/u\.txt"):
        plan_outputs(recordings, ["txt"], Path("out"))
    assert len(plan_outputs(recordings, ["txt"], None)) == 2


@pytest.mark.parametrize("folder", [Path("out"), None])
def test_a_recording_named_twice_is_done_once(tree: Path, folder: Path | None) -> None:
    recordings = [*find(tree / "b.wav"), *find(tree)]
    assert len(plan_outputs(recordings, ["txt"], folder)) == 4


def test_a_job_is_done_when_all_its_outputs_exist(tree: Path) -> None:
    (job,) = plan_outputs(find(tree / "b.wav"), ["txt", "json"], tree)
    (tree / "b.txt").touch()
    assert not job.is_done
    (tree / "b.json").touch()
    assert job.is_done
