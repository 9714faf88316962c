"""Pretrained models of other toolkits, read into our own model folders: one new file here is one more layout."""

from __future__ import annotations

from pathlib import Path

from asr.bundle.foreign.base import ForeignFormat, ForeignModel
from asr.bundle.foreign.ctranslate2 import CTranslate2Whisper
from asr.errors import BundleError

FORMATS: tuple[ForeignFormat, ...] = (CTranslate2Whisper(),)

__all__ = ["FORMATS", "ForeignFormat", "ForeignModel", "import_model", "read_foreign"]


def read_foreign(path: Path) -> ForeignModel:
    """Read a folder in whichever layout it has; BundleError if it is unknown."""
    if not path.is_dir():
        raise BundleError(f"{path}: no such folder; give the one that holds the model's files")
    for layout in FORMATS:
        if layout.fits(path):
            return layout.read(path)
    known = ", ".join(layout.name for layout in FORMATS)
    raise BundleError(f"{path}: holds no model of a known layout; known: {known}")


def import_model(path: Path, out: Path) -> ForeignModel:
    """Write a foreign model as a model folder of ours, with weights in the dtype of the source.

    BundleError for a folder that is not empty, before anything is read.
    """
    if out.exists() and any(out.iterdir()):
        raise BundleError(f"{out}: the folder is not empty; choose another --out")
    model = read_foreign(path)
    model.bundle().save(out, model.dtype)
    return model
