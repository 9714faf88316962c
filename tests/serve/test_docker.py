"""The Dockerfile and the compose file name what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import typer.main
import yaml

from asr.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tools" / "docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text("utf-8")


def options() -> set[str]:
    command: Any = typer.main.get_command(app)
    return {option for parameter in command.commands["serve"].params for option in parameter.opts}


def test_the_image_is_made_of_extras_and_files_that_exist() -> None:
    extras = re.findall(r"^ARG EXTRAS=(.*)$", DOCKERFILE, re.MULTILINE)[0].split(",")
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(extras) <= set(known)
    copied = [name for line in re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()]
    assert copied
    assert all((ROOT / name).exists() for name in copied)
    let_in = (FOLDER / "Dockerfile.dockerignore").read_text("utf-8").split()
    assert all(f"!{name}" in let_in for name in copied)
    assert len(re.findall(r"^torch==", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)) == 1


def test_commands_have_options_that_exist() -> None:
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
    words = [*compose["x-asr"]["command"], *re.findall(r'"([^"]+)"', "".join(DOCKERFILE.splitlines()[-2:]))]
    flags = [word for word in words if word.startswith("--")]
    assert "--model" in flags
    assert set(flags) <= options()
    for service in ("asr", "asr-cuda"):
        build = compose["services"][service]["build"]
        assert (FOLDER / build["context"] / build["dockerfile"]).resolve() == FOLDER / "Dockerfile"
