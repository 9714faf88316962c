"""What the catalogue must hold, and what it must not pretend to know."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from asr.bundle.catalogue import CATALOGUE, DEFAULT_MODEL, Entry, entry_of

ROOT = Path(__file__).resolve().parents[3]
WHISPER = ("tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en")
EXPECTED = {
    *(f"whisper-{size}" for size in (*WHISPER, "large-v2", "large-v3", "large-v3-turbo")),
    *("distil-small.en", "distil-large-v3", "distil-large-v3.5"),
    *("wav2vec2-base-960h", "wav2vec2-large-960h-lv60-self", "hubert-large-ls960-ft", "wav2vec2-xlsr-multilingual-56"),
    *("an4", "an4-streaming", "digits", "speechocean762"),
}


def test_the_models_people_ask_for_have_a_name() -> None:
    assert set(CATALOGUE) >= EXPECTED
    assert DEFAULT_MODEL in CATALOGUE
    assert all(name == entry.name for name, entry in CATALOGUE.items())


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
def test_every_model_has_a_source_and_a_licence(entry: Entry) -> None:
    assert entry.licence
    assert entry.hub or entry.checkout() is not None
    for repo in entry.hub:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", repo.repo)
        assert repo.revision is None or re.fullmatch("[0-9a-f]{40}|refs/pr/[0-9]+", repo.revision)
        assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in repo.sha256.values())


def test_wheels_are_those_that_the_extras_install_and_the_constraints_pin() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    wheels = [entry.wheel for entry in CATALOGUE.values() if entry.wheel is not None]
    assert len(wheels) == 2
    for wheel in wheels:
        assert extras[wheel.extra] == list(wheel.requirements)
        assert set(wheel.requirements) <= set(pinned)
        named = {requirement.split("==")[0] for requirement in wheel.requirements}
        assert {part[0] for file in wheel.files for part in file.parts} == named
        assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in wheel.files)


def test_a_repository_is_a_name_of_its_model_too() -> None:
    for repo in ("openai/whisper-base", "Systran/faster-whisper-base"):
        entry = entry_of(repo)
        assert entry is not None
        assert entry.name == "whisper-base"
    assert entry_of("whisper-huge") is None
