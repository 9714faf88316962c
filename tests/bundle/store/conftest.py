"""A little model under a name of its own, and a store of its own for each test."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from asr.bundle.catalogue import CATALOGUE, Entry, HubRepo, Layout, Wheel, WheelFile
from tests.bundle.foreign.whisper_files import random_variables, write_model

NAME, REPO = "whisper-test", "someone/whisper-test"
HALVES = ("half-one", "half-two")


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of CTranslate2 files."""
    folder = tmp_path_factory.mktemp("source")
    write_model(folder, random_variables(), "float16")
    return folder


@pytest.fixture
def entry(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """The catalogue's entry of that model, which no source has yet."""
    files = []
    for path in sorted(source.iterdir()):
        content = path.read_bytes()
        parts: tuple[tuple[str, str], ...] = ((HALVES[0], f"half_one/{path.name}"),)
        if path.name == "model.bin":
            parts = ((HALVES[0], "half_one/model.bin.part1"), (HALVES[1], "half_two/model.bin.part2"))
        files.append(WheelFile(path.name, parts, len(content), hashlib.sha256(content).hexdigest()))
    wheel = Wheel(("half-one==1", "half-two==1"), "whisper-test", REPO, "MIT", tuple(files))
    entry = Entry(NAME, "Whisper", "English", 0.1, "MIT", wheel, (HubRepo(REPO, Layout.CTRANSLATE2, "MIT"),))
    monkeypatch.setitem(CATALOGUE, NAME, entry)  # type: ignore[arg-type]
    monkeypatch.setenv("ASR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    return entry
