"""One server that most tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asr import Recognizer
from tests.bundle.foreign.whisper_files import multilingual_model
from tests.serve.servers import loader, running


@pytest.fixture(scope="session")
def model(tiny_workspace: Path) -> Path:
    return tiny_workspace / "model"


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Whisper of several languages."""
    folder = tmp_path_factory.mktemp("whisper")
    multilingual_model(folder / "source", folder / "model")
    return folder / "model"


@pytest.fixture(scope="session")
def server(model: Path, whisper: Path) -> Iterator[str]:
    """The address of a server with two models."""
    with running({"tiny": loader(model), "whisper": loader(whisper)}) as address:
        yield address


@pytest.fixture(scope="session")
def file(tiny_workspace: Path) -> Path:
    """A recording in which the tiny model finds text."""
    return tiny_workspace / "audio" / "5.wav"


@pytest.fixture(scope="session")
def text(model: Path, file: Path) -> str:
    """What the tiny model finds in it."""
    found = loader(model)().transcribe(file).text
    assert found
    return found


@pytest.fixture(scope="session")
def recognizer(model: Path) -> Recognizer:
    return loader(model)()
