"""The files of a model folder."""

from __future__ import annotations

from pathlib import Path

from asr.errors import BundleError

CONFIG_FILE = "config.yaml"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.model"


def require_parts(folder: Path, command: str) -> None:
    """BundleError unless the folder has all files that a model needs; `command` makes such folders."""
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such model folder; `{command}` makes one")
    for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE):
        if not (folder / name).is_file():
            raise BundleError(f"{folder / name}: missing; a model folder needs it, copy the whole folder again")
