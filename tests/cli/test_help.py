"""Help of every command ends with an example that works, and the shell completes commands and options."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from asr.cli.examples import EXAMPLES
from asr.cli.main import app, main

ROOT = Path(__file__).parents[2]


def commands() -> dict[str, Any]:
    """All commands that do something, by name."""

    def below(prefix: str, command: Any) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", {})
        if not inner:
            yield prefix, command
        for name, one in inner.items():
            yield from below(f"{prefix} {name}".strip(), one)

    return dict(below("", typer.main.get_command(app)))


def test_every_command_has_an_example() -> None:
    assert set(EXAMPLES) == set(commands())


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_right_command_line_and_ends_the_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(EXAMPLES[name])
    assert words[0] == "asr"
    assert words[1 : 1 + len(name.split())] == name.split()
    commands()[name].make_context(name, words[1 + len(name.split()) :])  # raises a UsageError otherwise
    with pytest.raises(SystemExit):
        main([*name.split(), "--help"])
    assert " ".join(capsys.readouterr().out.split()).endswith(f"Example: {EXAMPLES[name]}")


@pytest.mark.parametrize("name", [name for name in EXAMPLES if "recipes/" in EXAMPLES[name]])
def test_an_example_names_files_of_the_repository_that_are_there(name: str) -> None:
    paths = [word for word in EXAMPLES[name].split() if word.startswith("recipes/")]
    assert paths
    assert all((ROOT / path).exists() for path in paths)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("asr tr", ["train", "transcribe"]),
        ("asr data le", ["leaks"]),
        ("asr transcribe --outp", ["--output-dir"]),
    ],
)
def test_the_shell_completes_commands_and_options(words: str, completed: list[str]) -> None:
    asked = {"_ASR_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    environment = {**os.environ, **asked, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "asr"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.stdout.split() == completed
