"""What the pages say exists: commands and their options, settings, files of the package."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from asr.cli.main import app
from asr.config import Experiment, parse_experiment
from asr.decoding import SEARCHES
from asr.features import FRONTENDS
from asr.models.encoders import ENCODERS
from asr.models.heads import HEADS
from asr.optim.optimizers import OPTIMIZERS
from asr.text.normalize import NORMALIZERS
from asr.text.tokenizer import TOKENIZERS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *ROOT.glob("recipes/**/*.md"),
]
COMMAND = re.compile(r"(?:^ {4,}(?:\$ )?|`|\| )(?:torchrun .*-m )?asr (?P<words>[a-z][^`|\n]*)", re.MULTILINE)
OTHERS = {"docs/extending.md"}  # shows files that are to be made


def shown_commands(text: str) -> Iterator[list[str]]:
    """The words of every `asr ...` on a page, comments left out."""
    for match in COMMAND.finditer(text.replace("\\\n", " ")):
        yield match["words"].partition("  #")[0].split()


@functools.cache
def command_line() -> Any:
    """The command `asr` with all below it."""
    return typer.main.get_command(app)


def unknown_parts(words: list[str]) -> list[str]:
    """The command or the options among these words that the command line does not have."""
    command = command_line()
    words = list(words)
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        if name not in command.commands:
            return [] if name.isupper() else [name]
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return [
        word.partition("=")[0] for word in words if re.match(r"--[a-z]", word) and word.partition("=")[0] not in known
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    unknown = [(words, wrong) for words in shown_commands(page.read_text("utf-8")) if (wrong := unknown_parts(words))]
    assert unknown == []


def test_an_option_or_command_that_is_not_there_is_found() -> None:
    page = "    $ asr train x --out y --fast  # --slow\n\nUse `asr fly` or `asr data check --out x`.\n"
    assert [unknown_parts(words) for words in shown_commands(page)] == [["--fast"], ["fly"], []]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_of_the_repository_exist(page: Path) -> None:
    name = str(page.relative_to(ROOT))
    named = re.findall(r"(?<![\w/.-])(?:asr|tools|tests|docs)/[\w/.-]*\w", page.read_text("utf-8"))
    own = [path for path in named if not path.startswith("docs/source/")]  # another toolkit's
    missing = [path for path in own if not (ROOT / path).exists()]
    assert missing == [] or name in OTHERS


def test_the_experiment_that_the_page_on_training_shows_is_one() -> None:
    page = (ROOT / "docs" / "training.md").read_text("utf-8")
    shown = re.search(r"## An experiment is one file\n\n((?: {4}.*\n)+)", page)
    assert shown is not None
    experiment = parse_experiment(yaml.safe_load(shown[1]), source="docs/training.md")
    assert [head.head_id for head in experiment.heads] == ["ctc", "transformer"]


def test_the_page_on_training_names_every_key_and_every_part() -> None:
    page = (ROOT / "docs" / "training.md").read_text("utf-8")
    keys = set(Experiment.model_fields) - {"format_version", "provenance"}
    assert {key for key in keys if f"`{key}`" not in page and f"{key}:" not in page} == set()
    for names in (ENCODERS, HEADS, FRONTENDS, TOKENIZERS, OPTIMIZERS):
        assert [name for name in names.names() if f"`{name}`" not in page] == []
    assert [name for name in NORMALIZERS if f"`{name}`" not in page] == []
    searches = (ROOT / "docs" / "transcribing.md").read_text("utf-8")
    assert [name for name in SEARCHES.names() if f"`{name}`" not in searches] == []


def test_the_experiment_of_the_readme_is_one() -> None:
    shown = re.search(r"^ {4}data: \{train(?:.*\n)+?(?=\n)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert shown is not None
    assert parse_experiment(yaml.safe_load(shown[0]), source="README.md").init_from is not None


def test_the_readme_installs_the_torch_that_is_tested() -> None:
    shown = re.findall(r"torch==[\d.]+", (ROOT / "README.md").read_text("utf-8"))
    assert shown
    assert set(shown) <= set((ROOT / "constraints.txt").read_text("utf-8").split())


def test_every_list_of_heads_that_the_page_on_training_shows_is_one() -> None:
    page = (ROOT / "docs" / "training.md").read_text("utf-8")
    lists = [yaml.safe_load(line) for line in re.findall(r"^ {4}(heads: .*)$", page, re.MULTILINE)]
    assert len(lists) == 6
    for shown in lists:
        names = [head.get("id", head["name"]) for head in shown["heads"]]
        further = {
            head["tokenizer"]: {"name": "bpe", "vocab_size": 60} for head in shown["heads"] if "tokenizer" in head
        }
        experiment = {
            "data": {"train": "a", "dev": "b"},
            "loss": {"weights": dict.fromkeys(names, 0.5)},
            "tokenizers": further,
        }
        assert [head.head_id for head in parse_experiment(experiment | shown, source="page").heads] == names
