"""Recipes are scripts outside the package: loaded from their files here, or run as programs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

RECIPES = Path(__file__).resolve().parents[2] / "recipes"

RunPrepare = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def load_recipe() -> Callable[[str], ModuleType]:
    """The module recipes/<name>/prepare.py, fresh."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"prepare_{name}", RECIPES / name / "prepare.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def run_prepare() -> RunPrepare:
    """Runs recipes/<name>/prepare.py as a user would."""

    def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, RECIPES / name / "prepare.py", *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def make_audio() -> Callable[..., None]:
    """Writes a tone of some length where a corpus would have a recording, in the format of the name's ending."""
    formats = {".sph": {"format": "NIST", "subtype": "PCM_16"}, ".opus": {"format": "OGG", "subtype": "OPUS"}}

    def make(path: Path, seconds: float = 0.5, sample_rate: int = 16000) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        waveform = 0.1 * np.sin(0.2 * np.arange(round(seconds * sample_rate)))
        soundfile.write(path, waveform, sample_rate, **formats.get(path.suffix, {}))

    return make
