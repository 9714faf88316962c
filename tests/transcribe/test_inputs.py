"""Which files an argument means, and where their results go."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr.errors import AudioError
from asr.transcribe.inputs import OutputClashError, Recording, find_all, find_recordings, plan_outputs


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.wav", "x/a.FLAC", "x/y/c.mp3", "x/notes.txt", ".hidden.wav", ".cache/d.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(recordings: list[Recording]) -> list[str]:
    return [recording.relative.as_posix() for recording in recordings]


def test_a_folder_means_all_audio_below_it_but_hidden_files(tree: Path) -> None:
    assert names(find_recordings(str(tree))) == ["b.wav", "x/a.FLAC", "x/y/c.mp3"]


def test_a_file_is_taken_whatever_its_suffix(tree: Path) -> None:
    assert find_recordings(str(tree / "x/notes.txt")) == [Recording(tree / "x/notes.txt", Path("notes.txt"))]


def test_a_glob_keeps_the_folders_below_its_fixed_part(tree: Path) -> None:
    assert names(find_recordings(f"{tree}/x/**/*.mp3")) == ["y/c.mp3"]
    assert names(find_recordings(f"{tree}/*/a.*")) == ["x/a.FLAC"]


def test_a_name_with_brackets_that_exists_is_no_glob(tmp_path: Path) -> None:
    (tmp_path / "take[1].wav").touch()
    assert names(find_recordings(str(tmp_path / "take[1].wav"))) == ["take[1].wav"]


def test_a_folder_or_glob_without_audio_is_an_error(tree: Path) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(AudioError, match="no audio in this folder"):
        find_recordings(str(tree / "empty"))
    with pytest.raises(AudioError, match="no file matches"):
        find_recordings(f"{tree}/*.ogg")


def test_one_bad_argument_does_not_hide_the_others(tree: Path) -> None:
    recordings, problems = find_all([f"{tree}/*.ogg", str(tree / "b.wav")])
    assert names(recordings) == ["b.wav"]
    assert len(problems) == 1


def test_outputs_mirror_the_tree_with_the_suffix_replaced(tree: Path) -> None:
    jobs = plan_outputs(find_recordings(str(tree)), ["txt", "json"], Path("out"))
    assert [path.as_posix() for path in jobs[1].outputs.values()] == ["out/x/a.txt", "out/x/a.json"]


def test_dots_inside_a_name_stay() -> None:
    (job,) = plan_outputs([Recording(Path("a.part1.wav"), Path("a.part1.wav"))], ["txt"], Path("out"))
    assert job.outputs["txt"] == Path("out/a.part1.txt")


def test_two_recordings_with_one_output_are_refused(tmp_path: Path) -> None:
    recordings = [Recording(tmp_path / "a.wav", Path("a.wav")), Recording(tmp_path / "a.flac", Path("a.flac"))]
    with pytest.raises(OutputClashError, match=r"a\.wav and .*a\.flac would both become"):
        plan_outputs(recordings, ["txt"], Path("out"))


def test_a_recording_named_twice_is_done_once(tree: Path) -> None:
    recordings = [*find_recordings(str(tree / "b.wav")), *find_recordings(str(tree))]
    assert len(plan_outputs(recordings, ["txt"], Path("out"))) == 3


def test_a_job_is_done_when_all_its_outputs_exist(tree: Path) -> None:
    (job,) = plan_outputs(find_recordings(str(tree / "b.wav")), ["txt", "json"], tree)
    (tree / "b.txt").touch()
    assert not job.is_done
    (tree / "b.json").touch()
    assert job.is_done
