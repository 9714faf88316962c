"""What `asr transcribe` writes, and where."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr.audio.io import load_audio, write_wav
from asr.audio.resample import resample
from asr.cli.main import main
from asr.transcribe.writers import WRITERS

pytestmark = pytest.mark.usefixtures("workspace")


def transcribe(*arguments: str) -> object:
    with pytest.raises(SystemExit) as leaving:
        main(["transcribe", "--model", "model", "--device", "cpu", "--vad", "none", *arguments])
    return leaving.value.code


def test_one_file_gives_its_text_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert transcribe("audio/3.wav") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line
    assert "\t" not in line


@pytest.mark.parametrize("arguments", [["audio/3.wav", "audio/4.wav"], ["audio"], ["audio/*.wav"]])
def test_more_files_give_lines_with_their_names(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert transcribe(*arguments) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _ in rows if name in ("audio/3.wav", "audio/4.wav")] == ["audio/3.wav", "audio/4.wav"]
    assert all(text for _, text in rows)


def test_json_on_standard_output_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert transcribe("audio", "--format", "json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["audio"] for row in rows] == [f"audio/{number}.wav" for number in range(6)]
    assert rows[2]["duration"] == 1.6
    assert rows[2]["model"] == "model"


def test_files_mirror_the_input_tree_and_agree_with_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    Path("audio/more").mkdir()
    shutil.move("audio/5.wav", "audio/more/last.wav")
    assert transcribe("audio", "--format", "txt,json", "--output-dir", "texts") == 0
    assert capsys.readouterr().out == ""
    assert transcribe("audio/more/last.wav") == 0
    text = capsys.readouterr().out
    assert Path("texts/more/last.txt").read_text(encoding="utf-8") == text
    assert json.loads(Path("texts/more/last.json").read_text(encoding="utf-8"))["text"] == text.strip()


def test_finished_outputs_are_kept_and_missing_ones_made(capsys: pytest.CaptureFixture[str]) -> None:
    Path("texts").mkdir()
    Path("texts/2.txt").write_text("mine", encoding="utf-8")
    assert transcribe("audio", "--output-dir", "texts") == 0
    assert "1 of 6 files are done already" in capsys.readouterr().err
    assert Path("texts/2.txt").read_text(encoding="utf-8") == "mine"
    assert Path("texts/3.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["audio/0.wav", "--format", "txt,json"], "--output-dir"),
        (["audio/0.wav", "--format", "jsn"], "did you mean"),
        (["audio/0.wav", "other/0.wav", "--output-dir", "texts"], "would both become"),
    ],
)
def test_wrong_usage_is_told_before_any_work(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("audio", "other")
    assert transcribe(*arguments) == 2
    assert complaint in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not Path("texts").exists()


def write_silence(path: str) -> None:
    write_wav(Path(path), np.zeros(16000, np.float32), 16000)


@pytest.mark.parametrize(
    ("arguments", "warnings"),
    [
        (["quiet.wav", "--vad", "energy"], ["warning: quiet.wav: no speech found"]),
        (["audio/3.wav", "--min-confidence", "1"], ["warning: audio/3.wav: no words recognised"]),
        (["audio", "--min-confidence", "1"], ["warning: 6 of 6 files: no words recognised"]),
        (["audio/3.wav", "quiet.wav", "--vad", "energy"], ["warning: 1 of 2 files (quiet.wav): no speech found"]),
        (
            ["audio", "quiet.wav", "--vad", "energy", "--min-confidence", "1"],
            ["warning: 1 of 7 files (quiet.wav): no speech found", "warning: 6 of 7 files: no words recognised"],
        ),
        (["audio"], []),
    ],
)
def test_recordings_that_give_no_text_are_told(
    arguments: list[str], warnings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_silence("quiet.wav")
    assert transcribe(*arguments) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert [line for line in told if "no text for" not in line] == warnings  # what no segment covers is told beside


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["--output-dir", "texts"], "; repeat the command to go on"),
        (["--output-dir", "texts", "--overwrite"], "; repeat the command without --overwrite to go on"),
        ([], ""),
    ],
)
def test_ctrl_c_says_how_many_files_are_done(
    arguments: list[str], advice: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = WRITERS["json"]
    written: list[str] = []

    def impatient(*values: Any) -> str:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(write(*values))
        return written[-1]

    monkeypatch.setitem(WRITERS, "json", impatient)
    assert transcribe("audio", "--format", "json", *arguments) == 130
    assert capsys.readouterr().err.splitlines()[-1] == f"interrupted: 2 of 6 files are done{advice}"


def test_what_can_be_read_of_a_recording_that_breaks_off_is_written_when_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = Path("audio/5.wav").read_bytes()
    Path("cut.wav").write_bytes(whole[: len(whole) * 2 // 5])
    assert transcribe("cut.wav", "audio/0.wav", "--output-dir", "texts") == 1
    assert not Path("texts/cut.txt").exists()
    assert "error: cut.wav: the file ends after" in capsys.readouterr().err
    assert transcribe("cut.wav", "audio/0.wav", "--output-dir", "texts", "--format", "txt,json", "--partial") == 1
    assert Path("texts/0.txt").exists()
    told = json.loads(Path("texts/cut.json").read_text(encoding="utf-8"))
    assert told["text"]
    assert told["duration"] == pytest.approx(1.0, abs=0.01)
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert warning.startswith("warning: cut.wav: the file ends after")
    assert warning.endswith("(its first 1.0 s are transcribed)")


def test_a_file_of_which_nothing_can_be_read_is_an_error_even_in_part(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.wav").write_text("no audio", encoding="utf-8")
    assert transcribe("bad.wav", "--partial") == 1
    assert "error: bad.wav" in capsys.readouterr().err


@pytest.mark.parametrize("num_files", [1, 2])
def test_recordings_of_a_telephone_are_told_once(num_files: int, capsys: pytest.CaptureFixture[str]) -> None:
    calls = [f"call{number}.wav" for number in range(num_files)]
    for call in calls:
        write_wav(Path(call), resample(load_audio(Path("audio/5.wav"), 8000), 8000, 16000), 16000)
    assert transcribe("audio/5.wav", "--vad", "none") == 0
    assert "4 kHz" not in capsys.readouterr().err
    assert transcribe(*calls, "--vad", "none") == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "4 kHz" in line]
    which = "call0.wav" if num_files == 1 else "2 of 2 files"
    assert warning.startswith(f"warning: {which}: nothing above 4 kHz, as from a telephone")


def test_a_table_in_place_of_audio_is_told_how_to_become_a_manifest(capsys: pytest.CaptureFixture[str]) -> None:
    assert transcribe("table.csv") == 1
    told = "error: table.csv: a table, no audio; `asr data import table.csv --out table.jsonl`, then give table.jsonl\n"
    assert capsys.readouterr().err == told
