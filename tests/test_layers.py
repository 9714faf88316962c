"""Imports point down: every package imports only packages of a lower rank, wherever in a file the import stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RANKS = (
    ("types", "lengths", "registry", "errors"),  # single modules, one room: they may use each other
    ("system",),
    ("audio", "features", "text", "nn", "losses", "optim"),
    ("alignment",),
    ("data", "models", "lm", "scoring"),
    ("decoding",),
    ("corpora",),
    ("config_errors", "config_overrides", "upgrade"),
    ("config", "config_reference"),
    ("bundle",),
    ("training",),
    ("experiments", "transcribe"),
    ("evaluate", "tune"),
    ("serve",),
    ("cli",),
    ("__main__",),
)
RANK = {package: rank for rank, packages in enumerate(RANKS) for package in packages}
OUTSIDE = {"recipes", "tests", "tools"}  # they import asr; asr imports none of them


@dataclass(frozen=True)
class Import:
    """One import statement: which module says it, on which line, and the module it names."""

    module: str
    line: int
    target: str


def modules_of(root: Path) -> dict[str, Path]:
    """Dotted name -> file, for every module of the package `asr` under `root`."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((root / "asr").rglob("*.py"))
    }


def imports_of(module: str, modules: dict[str, Path]) -> Iterator[Import]:
    """Every import of a module, also inside functions and TYPE_CHECKING; `import_siblings` counts as all siblings."""
    path = modules[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield Import(module, node.lineno, name if name in modules else base)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_siblings":
            for name in modules:
                if name.rpartition(".")[0] == package and name != module:
                    yield Import(module, node.lineno, name)


def layer_errors(root: Path) -> list[str]:
    """One line for each import that points up, sideways or out of the package."""
    modules = modules_of(root)
    errors = []
    for module in modules:
        if module == "asr":  # the public face names what users may want, from any layer, lazily
            continue
        package = module.split(".")[1]
        if package not in RANK:
            errors.append(f"{module}: package '{package}' has no rank; give it one here and in the design")
            continue
        for found in imports_of(module, modules):
            top, _, rest = found.target.partition(".")
            target = rest.split(".")[0]
            place = f"{modules[module].relative_to(root)}:{found.line}"
            if top in OUTSIDE:
                errors.append(f"{place} imports {found.target}, which is not part of the package")
            if top != "asr" or not target or target == package:
                continue
            if target not in RANK:
                errors.append(f"{place} imports {found.target}, which has no rank")
            elif RANK[target] > RANK[package]:
                errors.append(f"{place} imports {found.target}: upwards, from rank {RANK[package]} to {RANK[target]}")
            elif RANK[target] == RANK[package] > 0:
                errors.append(f"{place} imports {found.target}: sideways, both are of rank {RANK[package]}")
    return errors


def import_cycle(root: Path) -> list[str]:
    """The modules of one import cycle, or nothing."""
    modules = modules_of(root)
    graph = {
        module: {found.target for found in imports_of(module, modules) if found.target in modules} - {"asr"}
        for module in modules
        if module != "asr"
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def write_package(root: Path, files: dict[str, str]) -> None:
    """A little package `asr` with these files, paths relative to it."""
    for name, source in {"__init__.py": "", **files}.items():
        path = root / "asr" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")


def test_every_import_of_the_package_points_down() -> None:
    assert len(modules_of(ROOT)) > 10
    assert layer_errors(ROOT) == []


def test_no_modules_import_each_other_in_a_cycle() -> None:
    assert import_cycle(ROOT) == []


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("from asr.training.trainer import Trainer", "upwards"),
        ("import asr.cli.main", "upwards"),
        ("from asr import bundle", "upwards"),
        ("from ..config import Experiment", "upwards"),
        ("def late():\n    from asr.config import Experiment", "upwards"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from asr.bundle.bundle import Bundle", "upwards"),
        ("from asr.models.asr_model import AsrModel", "sideways"),
        ("from asr.wizardry import spell", "no rank"),
        ("from tests.conftest import corpora", "not part of the package"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, source: str, complaint: str) -> None:
    write_package(tmp_path, {"data/dataset.py": source, "bundle.py": "", "config.py": ""})
    (error,) = layer_errors(tmp_path)
    assert complaint in error


def test_a_package_may_import_itself_lower_ranks_and_the_version(tmp_path: Path) -> None:
    source = "from asr import __version__\nfrom asr.audio.io import load_audio\nfrom .manifest import read_manifest\n"
    write_package(tmp_path, {"data/dataset.py": source, "data/manifest.py": "import json"})
    assert layer_errors(tmp_path) == []


def test_a_cycle_inside_a_function_is_found(tmp_path: Path) -> None:
    late = "def late():\n    from asr.data import a"
    write_package(tmp_path, {"data/a.py": "from asr.data import b", "data/b.py": late})
    assert set(import_cycle(tmp_path)) == {"asr.data.a", "asr.data.b"}


def test_a_cycle_through_the_siblings_a_registry_imports_is_found(tmp_path: Path) -> None:
    files = {
        "text/tokenizer/__init__.py": "import_siblings(__name__, __path__)\nTOKENIZERS = {}",
        "text/tokenizer/char.py": "from asr.text.tokenizer import TOKENIZERS",
    }
    write_package(tmp_path, files)
    assert set(import_cycle(tmp_path)) == {"asr.text.tokenizer", "asr.text.tokenizer.char"}
