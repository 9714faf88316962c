"""Starting up is quick because nothing heavy is imported before it is needed; tested by names, not by a clock."""

from __future__ import annotations

import subprocess
import sys

import pytest

import asr
from asr.cli.main import app

HEAVY = {"torch", "numpy", "soundfile", "sentencepiece", "yaml", "rapidfuzz", "safetensors"}
COMMANDS = [command.callback.__name__ for command in app.registered_commands if command.callback]


def modules_after(code: str) -> set[str]:
    """Top-level names of all modules a fresh interpreter has imported after running some code."""
    report = "import sys; print('modules', *{name.partition('.')[0] for name in sys.modules})"
    result = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split()[1:])


def test_importing_asr_imports_nothing_but_the_standard_library() -> None:
    assert modules_after("import asr") & {*HEAVY, "pydantic", "typer", "rich"} == set()


def test_a_name_of_the_public_face_is_there_when_used() -> None:
    assert {"asr", "soundfile"} <= modules_after("import asr; asr.load_audio")
    assert {"asr", "torch"} <= modules_after("import asr; asr.Recognizer")
    assert {"asr", "torch"} <= modules_after("from asr import SearchRequest; SearchRequest('ctc_greedy')")


def test_every_name_of_the_public_face_is_listed_and_no_other_is_there() -> None:
    assert set(asr.__all__) <= set(dir(asr))
    assert all(getattr(asr, name) is not None for name in asr.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Recogniser'"):
        asr.Recogniser  # noqa: B018


def test_all_commands_are_checked() -> None:
    assert {"train", "evaluate", "transcribe", "score", "average", "info"} <= set(COMMANDS)


def modules_after_command(*arguments: str) -> set[str]:
    return modules_after(f"""
from asr.cli.main import main
try:
    main({list(arguments)!r})
except SystemExit as leaving:
    assert leaving.code == 0
""")


def test_help_imports_no_heavy_module() -> None:
    assert modules_after_command("--help") & {*HEAVY, "pydantic"} == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_imports_no_heavy_module(command: str) -> None:
    assert modules_after_command(command, "--help") & HEAVY == set()  # typer parses options with pydantic
