"""Pretrained models of other toolkits, read into our own model folders: one new file here is one more layout."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from asr.bundle.foreign.base import FORMATS, ForeignFormat, ForeignModel, register
from asr.bundle.foreign.files import CONFIG, model_type, read_settings
from asr.errors import AsrError, BundleError
from asr.registry import import_siblings
from asr.system.runtime import TEMPORARY

import_siblings(__name__, __path__)

ADAPTER_FILE = "adapter_config.json"

__all__ = ["FORMATS", "ForeignFormat", "ForeignModel", "import_model", "read_foreign", "register"]


def read_foreign(path: Path, *, archives: bool = False) -> ForeignModel:
    """Read a folder, or a file, in whichever layout it has; BundleError if it is unknown.

    Torch archives are read with `archives` alone, which nothing but a person's own wish should set.
    """
    if not path.exists():
        raise BundleError(f"{path}: no such folder; give the one that holds the model's files")
    for layout in FORMATS:
        if layout.fits(path):
            if layout.is_archive(path) and not archives:
                raise BundleError(f"{path}: its weights are a torch archive; `asr models import {path}` reads it")
            return layout.read(path)
    raise BundleError(f"{path}: {_unknown(path)}")


def import_model(path: Path, out: Path, *, archives: bool = False) -> ForeignModel:
    """Write a foreign model as a model folder of ours, with weights in the type of the source; all of it or nothing.

    BundleError for a folder that is not empty, before anything is read. `archives` is as of `read_foreign`.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(f"{out}: the folder is not empty; choose another --out")
    model = read_foreign(path, archives=archives)
    own = Path(os.path.realpath(out))
    unfinished = own.with_name(f".{own.name}.{os.getpid()}{TEMPORARY}")
    try:
        unfinished.mkdir(parents=True)
        model.save(unfinished)
        if own.exists():
            own.rmdir()
        unfinished.rename(own)
    except OSError as error:
        raise AsrError(f"{out}: cannot write ({error.strerror or error}); choose another folder") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return model


def _unknown(path: Path) -> str:
    """Why nothing here reads it."""
    if (path / ADAPTER_FILE).is_file():
        return "holds an adapter, no whole model; merge it into its base model first (peft: merge_and_unload)"
    if path.is_file():
        return "a file by itself is read if it ends in .pt; give the folder that holds it and what belongs to it"
    if (path / CONFIG).is_file():
        read_settings(path / CONFIG)  # a damaged one is no unknown layout
    known = ", ".join(sorted(layout.name for layout in FORMATS))
    if (architecture := model_type(path)) is not None:
        return f"a model of type '{architecture}', which is not supported; known: {known}"
    return f"holds no model of a known layout; known: {known}"
