"""What is on record about the source code is enough to have it back."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from asr.system import environment as module
from asr.system.environment import changed, environment, git_state, project_state, toolkit_state


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/code.py").write_text("x = 1\n", encoding="utf-8")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def test_a_clean_checkout_is_its_commit(checkout: Path) -> None:
    state = git_state(checkout / "sub")
    assert state is not None
    assert str(state) == git(checkout, "rev-parse", "--short=12", "HEAD").strip()


def test_changes_can_be_applied_to_the_commit_to_get_the_same_source_back(checkout: Path, tmp_path: Path) -> None:
    (checkout / "sub/code.py").write_text("x = 2  # \u00fc\n", encoding="utf-8")
    (checkout / "notes.txt").write_text("untracked", encoding="utf-8")
    state = git_state(checkout)
    assert state is not None
    assert str(state) == f"{state.commit}+{state.changes}"
    git(tmp_path, "clone", "--quiet", str(checkout), "copy")
    (tmp_path / "changes.patch").write_bytes(state.diff.encode("utf-8", "surrogateescape"))
    git(tmp_path / "copy", "apply", str(tmp_path / "changes.patch"))
    assert (tmp_path / "copy/sub/code.py").read_bytes() == (checkout / "sub/code.py").read_bytes()
    again = git_state(tmp_path / "copy")
    assert again is not None
    assert str(again) == str(state)


def test_no_checkout_no_state(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None


def test_a_toolkit_installed_below_another_checkout_is_not_taken_for_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = checkout / ".venv/site-packages/asr"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    monkeypatch.setattr(module, "TOOLKIT", installed)
    monkeypatch.chdir(checkout)
    assert toolkit_state() is None
    project = project_state()
    assert project is not None
    assert project.root.samefile(checkout)


def test_versions_are_those_installed() -> None:
    record = environment(torch.device("cpu"))
    assert record["torch"] == torch.__version__
    assert {name: record[name] for name in ("numpy", "soundfile", "pydantic")} == {
        name: version(name) for name in ("numpy", "soundfile", "pydantic")
    }
    assert record["device"] == "cpu"
    assert record["threads"] == torch.get_num_threads()


def test_only_what_matters_and_was_on_record_counts_as_changed() -> None:
    now = {"torch": "2.13", "threads": 2, "cores": 8, "cpu": "new key"}
    assert changed({"torch": "2.13", "threads": 1, "cores": 4}, now) == {"threads": 2}
    assert changed({"torch": "2.13", "numba": "0.6"}, now) == {"numba": None}
