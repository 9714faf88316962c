"""The files of model folders as the Hugging Face hub has them: settings, and weights in one or several pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from asr.bundle.foreign.archives import load_tensor_archive
from asr.errors import BundleError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ARCHIVE = "pytorch_model.bin"
ARCHIVE_INDEX = "pytorch_model.bin.index.json"


def read_json(path: Path, hint: str = "copy the whole folder again") -> Any:
    """The content of a JSON file; BundleError if it is missing or something else."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); {hint}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not valid JSON; copy the file again") from error


def read_settings(path: Path, *, needed: bool = True) -> dict[str, Any]:
    """A JSON file that holds settings by name; {} for a missing one that is not needed."""
    if not needed and not path.is_file():
        return {}
    settings = read_json(path)
    if not isinstance(settings, dict):
        raise BundleError(f"{path}: expected settings by name; copy the file again")
    return settings


def model_type(path: Path) -> str | None:
    """What the folder's config.json calls the architecture; None for a folder without such a file."""
    if not (path / CONFIG).is_file():
        return None
    try:
        settings = read_settings(path / CONFIG)
    except BundleError:
        return None
    found = settings.get("model_type")
    return found if isinstance(found, str) else None


def has_only_archives(path: Path) -> bool:
    """Whether a folder's weights are torch archives and nothing else."""
    safe = (path / WEIGHTS).is_file() or (path / INDEX).is_file()
    return not safe and ((path / ARCHIVE).is_file() or (path / ARCHIVE_INDEX).is_file())


def open_weights(path: Path) -> tuple[Path, Mapping[str, Tensor]]:
    """The file that names a folder's weights, and the tensors, each of which is read when it is asked for.

    safetensors are preferred to torch archives. BundleError if there are none, or if they are damaged.
    """
    for name in (WEIGHTS, ARCHIVE):
        if (path / name).is_file():
            return path / name, _open(path / name)
    for name in (INDEX, ARCHIVE_INDEX):
        if (path / name).is_file():
            return path / name, _open_pieces(path / name)
    raise BundleError(f"{path / WEIGHTS}: missing; the weights are in it, copy the whole folder again")


def _open(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        return SafeTensors(path)
    return load_tensor_archive(path)


def _open_pieces(index: Path) -> Mapping[str, Tensor]:
    places = read_settings(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(place, str) for place in places.values()):
        raise BundleError(f"{index}: has no `weight_map` of names and files; copy the file again")
    if outside := next((place for place in places.values() if Path(place).name != place), None):
        raise BundleError(f"{index}: names the file '{outside}' outside its folder; refused")
    if absent := next((place for place in sorted(set(places.values())) if not (index.parent / place).is_file()), None):
        raise BundleError(f"{index.parent / absent}: missing; {index.name} needs it, copy the whole folder again")
    pieces = {place: _open(index.parent / place) for place in sorted(set(places.values()))}
    for place, piece in pieces.items():
        if unlisted := sorted(set(piece) - {name for name in places if places[name] == place}):
            raise BundleError(f"{index.parent / place}: tensor '{unlisted[0]}' is not listed in {index.name}")
    for name, place in sorted(places.items()):
        if name not in pieces[place]:
            raise BundleError(f"{index.parent / place}: tensor '{name}' is missing; copy the file again")
    return {name: tensor for piece in pieces.values() for name, tensor in piece.items()}


class SafeTensors(Mapping[str, Tensor]):
    """The tensors of one file, mapped into memory: pages are read when values are."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = safe_open(path, framework="pt").__enter__()
            self._names = dict.fromkeys(self._file.keys())
        except (SafetensorError, OSError) as error:
            raise BundleError(f"{path}: damaged or not safetensors ({error}); copy the file again") from error

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        try:
            tensor: Tensor = self._file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise BundleError(f"{self._path}: tensor '{name}' cannot be read ({error}); copy the file again") from error
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
