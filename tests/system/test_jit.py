"""Compiled functions on disk are those of the source as it is now."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba")

CALLEE = """
from asr.system.jit import {decorator}

@{decorator}
def step(x):
    return x + {added}
"""
CALLER = """
from asr.system.jit import compiled
from callee import step

@compiled
def twice(x):
    return again(step(x))

@compiled
def again(x):
    return step(x)
"""


def fresh_caller(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of `twice`, as a process that starts now would import it."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("caller", "callee"):
        sys.modules.pop(name, None)
    return importlib.import_module("caller")


@pytest.mark.parametrize("decorator", ["compiled", "compiled_part"])
def test_a_change_in_a_called_file_is_noticed_and_what_stayed_is_not_compiled_again(
    decorator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "caller.py").write_text(CALLER, encoding="utf-8")
    (tmp_path / "callee.py").write_text(CALLEE.format(decorator=decorator, added=1), encoding="utf-8")
    assert fresh_caller(tmp_path, monkeypatch).twice(0) == 2
    unchanged = fresh_caller(tmp_path, monkeypatch)
    assert unchanged.twice(0) == 2
    assert sum(unchanged.twice.stats.cache_hits.values()) == 1
    (tmp_path / "callee.py").write_text(CALLEE.format(decorator=decorator, added=10), encoding="utf-8")
    assert fresh_caller(tmp_path, monkeypatch).twice(0) == 20


def test_a_function_whose_source_is_nowhere_is_compiled_all_the_same() -> None:
    from asr.system.jit import compiled

    namespace: dict[str, Any] = {}
    exec("def add(x): return x + 1", namespace)
    assert compiled(namespace["add"])(1) == 2
