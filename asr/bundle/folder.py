"""The files of a model folder."""

from __future__ import annotations

from pathlib import Path

from asr.errors import BundleError
from asr.system.paths import nearest

CONFIG_FILE = "config.yaml"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.model"


def require_parts(folder: Path, command: str) -> None:
    """BundleError unless the folder has all files that a model needs; `command` makes such folders."""
    if not folder.is_dir():
        near = nearest(folder)
        hint = _model_at(near) if near is not None else ""
        raise BundleError(f"{folder}: no such model folder{hint or f'; `{command}` makes one'}")
    if not any((folder / name).exists() for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE)):
        raise BundleError(f"{folder}: is no model folder{_model_at(folder) or f'; `{command}` makes one'}")
    for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE):
        if not (folder / name).is_file():
            raise BundleError(f"{folder / name}: missing; a model folder needs it, copy the whole folder again")


def _model_at(folder: Path) -> str:
    """A hint that names a folder, or the one model right below it; nothing where there is none, or several."""
    found = [folder] if (folder / CONFIG_FILE).is_file() else [path.parent for path in folder.glob(f"*/{CONFIG_FILE}")]
    return f"; did you mean '{found[0]}'?" if len(found) == 1 else ""
