"""Models by name: kept in one folder of the user, and fetched into it at their first use.

`find_model` is what every command and `Recognizer.load` ask. A folder wins over a name. The store is `models/` in
ASR_HOME, or else in the user's cache folder; what it lacks comes from an installed wheel, the hub's cache or the hub.
"""

from __future__ import annotations

import difflib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from asr.bundle.catalogue import CATALOGUE, Entry, entry_of
from asr.bundle.folder import require_parts
from asr.bundle.import_record import ImportRecord
from asr.bundle.store import places
from asr.bundle.store.files import UnavailableError, digest
from asr.bundle.store.hub_cache import find_snapshot
from asr.bundle.store.wheels import locate
from asr.errors import BundleError
from asr.system.display import Display
from asr.system.paths import nearest

if TYPE_CHECKING:
    from asr.bundle.foreign import ForeignModel

FILE_SUFFIXES = (".bin", ".json", ".pt", ".safetensors", ".txt")  # of models that are imported

__all__ = [
    "find_by_name",
    "find_model",
    "known_model",
    "missing_model",
    "nearest_source",
    "record_import",
    "unknown_model",
]


def find_model(model: Path | str, command: str = "asr train", display: Display | None = None) -> Path:
    """The folder of a model that is given as a folder or by name, with all its parts; fetched if need be.

    `command` makes model folders, for the message where there is none. `display` shows what is fetched, on standard
    error by default. BundleError for what is neither, and where a model cannot be had.
    """
    folder, name = Path(model), str(model)
    if folder.is_dir():
        entry = entry_of(name)
        if entry is not None and not any(folder.glob("config.yaml")):
            raise BundleError(
                f"{folder}: this folder is no model, and hides the model of that name; work in another folder"
            )
        require_parts(folder, command)
        return folder
    return find_by_name(name, command, display)


def find_by_name(name: str, command: str = "asr train", display: Display | None = None) -> Path:
    """As `find_model` for what is no folder."""
    if (known := known_model(name)) is not None:
        return known
    entry = entry_of(name)
    if entry is None:
        raise unknown_model(name, command)
    if entry.folder is not None:
        raise missing_model(entry)
    from asr.bundle.store.fetch import fetch

    return fetch(entry, display or Display())


def known_model(name: str) -> Path | None:
    """The folder of a model that is here, by its name; None for one that is not, or of no known name."""
    entry = entry_of(name)
    if entry is not None and entry.folder is not None:
        return entry.checkout()
    kept = places.model_folder(entry.name if entry is not None else name)
    return kept if kept.parent == places.home() / places.MODELS and places.is_model(kept) else None


def nearest_source(entry: Entry) -> str:
    """Where a model of the catalogue would be taken from without a network: here, wheel, hub's cache, or `-`."""
    if known_model(entry.name) is not None:
        return "here"
    with suppress(UnavailableError):
        if entry.wheel is not None:
            locate(entry.wheel)
            return "wheel"
    for repo in entry.hub:
        with suppress(UnavailableError):
            find_snapshot(repo)
            return "hub's cache"
    return "-"


def record_import(model: ForeignModel, path: Path, folder: Path) -> None:
    """Put on record, in a model folder, what it was imported from by hand, and what is said there of it."""
    paths = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.suffix in FILE_SUFFIXES)
    files = {file.name: digest(file, lambda _: None) for file in paths if file.is_file()}
    origin = model.origin
    source = f"{path} ({origin.name})" if origin.name is not None else str(path)
    ImportRecord(folder.resolve().name, source, "import", None, origin.licence, files).save(folder)


def missing_model(entry: Entry) -> BundleError:
    """For a model that only a checkout of the toolkit has."""
    return BundleError(
        f"{entry.name}: this model is in {entry.folder} of the toolkit's repository; clone it, or name its folder"
    )


def unknown_model(model: Path | str, command: str) -> BundleError:
    """For what is neither a folder nor a name, with what was perhaps meant."""
    name = str(model)
    names = [*CATALOGUE, *places.kept_names()]
    near = [one for one in names if name and (one.endswith(f"-{name}") or one == name.lower())]
    near += difflib.get_close_matches(name, names, n=1)
    if near:
        return BundleError(f"{name}: no such model folder or model; did you mean '{near[0]}'?")
    is_path = any(sign in name for sign in "/\\") or name.startswith(".")
    if not is_path and nearest(Path(model)) is None:
        return BundleError(
            f"{name}: no such model folder or model; `asr models list` shows the names, `{command}` makes one"
        )
    try:
        require_parts(Path(model), command)
    except BundleError as error:
        return error
    raise AssertionError("a folder was taken for none")
