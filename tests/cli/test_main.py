"""Exit statuses and error lines, whatever the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asr import __version__
from asr.cli.main import main
from asr.errors import StoppedError


def run(*arguments: str) -> object:
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    return leaving.value.code


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"asr {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["sing"],
        ["transcribe"],
        ["transcribe", "a.wav", "--model", "m", "--formt", "txt"],
        ["transcribe", "a.wav", "--model", "m", "--threads", "many"],
        ["transcribe", "a.wav", "--model", "m", "--threads", "0"],
        ["train", "--out", "exp"],
        ["average", "exp", "--out", "mean"],
        ["average", "exp", "--out", "mean", "--best", "2", "--last", "2"],
    ],
)
def test_wrong_usage_ends_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path) -> None:
        raise KeyError("a bug\nof ours")

    monkeypatch.setattr("asr.experiments.summary.summarize", fail)
    monkeypatch.setattr("asr.cli.info.require_model", lambda _: None)


@pytest.mark.usefixtures("failing")
def test_an_error_nobody_foresaw_is_one_line_that_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "exp") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: unexpected KeyError")
    assert "--debug" in line


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize(
    "arguments", [["--debug", "info", "exp"], ["info", "--debug", "exp"], ["info", "exp", "--debug"]]
)
def test_debug_shows_the_traceback_wherever_it_stands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_one_line_and_status_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("asr.experiments.summary.summarize", interrupt)
    monkeypatch.setattr("asr.cli.info.require_model", lambda _: None)
    assert run("info", "exp") == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def test_an_interruption_that_kept_something_says_what(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_path: Path) -> None:
        raise StoppedError("stopped after step 3; resume it")

    monkeypatch.setattr("asr.experiments.summary.summarize", interrupt)
    monkeypatch.setattr("asr.cli.info.require_model", lambda _: None)
    assert run("info", "exp") == 130
    assert capsys.readouterr().err == "stopped after step 3; resume it\n"


def test_a_reader_that_has_seen_enough_is_no_error(workspace: Path) -> None:
    command = [sys.executable, "-m", "asr.cli.main", "transcribe", *["audio"] * 50, "--model", "model"]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        command, cwd=workspace, env={"PYTHONPATH": str(root)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert "error" not in process.stderr.read().lower()
    process.wait(timeout=60)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-"])
def test_a_result_that_standard_output_does_not_take_is_an_error_in_one_line(
    redirection: str, tiny_workspace: Path
) -> None:
    root = Path(__file__).parents[2]
    line = f"{sys.executable} -m asr.cli.main score ref.txt hyp.txt {redirection}"
    ended = subprocess.run(
        line, shell=True, cwd=tiny_workspace, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    (error,) = ended.stderr.splitlines()
    assert error.startswith("error: standard output: cannot be written (")


def test_a_fault_of_the_system_about_a_file_is_an_ordinary_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], workspace: Path
) -> None:
    def fail(path: Path) -> None:
        (path / "gone").read_bytes()

    assert workspace == Path.cwd()
    monkeypatch.setattr("asr.experiments.summary.summarize", fail)
    assert run("info", "model") == 1
    assert capsys.readouterr().err == "error: model/gone: No such file or directory\n"
