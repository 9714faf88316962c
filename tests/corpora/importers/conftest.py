"""A folder with a few recordings to make manifests of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.corpora.importers import Imported, ImportOptions, import_corpus

RATE = 8000


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: one.wav of 1 s, two.flac of 2 s, sub/three.wav of 1.5 s and stereo.wav of 1 s."""
    (tmp_path / "sub").mkdir()
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (2 * RATE, 2))
    for name, seconds in {"one.wav": 1, "two.flac": 2, "sub/three.wav": 1.5}.items():
        soundfile.write(tmp_path / name, sound[: round(seconds * RATE), 0], RATE)
    soundfile.write(tmp_path / "stereo.wav", sound[:RATE], RATE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def imported(source: Path) -> Callable[..., Imported]:
    """Writes files, imports the path named first, and gives what came of it."""

    def write_and_import(
        path: str, files: dict[str, str | bytes], format: str | None = None, **options: object
    ) -> Imported:
        for name, content in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return import_corpus(source / path, format, ImportOptions(**options))

    return write_and_import
