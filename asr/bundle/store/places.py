"""Where models are kept, and locks between the processes that keep them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from asr.bundle.folder import CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from asr.bundle.store.files import megabytes
from asr.errors import BundleError

HOME_VARIABLE = "ASR_HOME"
MODELS, DOWNLOADS, RECORDS = "models", "downloads", "records"


def home() -> Path:
    """ASR_HOME, else `asr` in the folder that the system has for caches of the user."""
    if chosen := os.environ.get(HOME_VARIABLE):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "asr"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "asr"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asr"


def model_folder(name: str) -> Path:
    """Where a model of this name is kept, be it there or not."""
    return home() / MODELS / name


def download_folder(name: str) -> Path:
    """Where its files wait until all are there."""
    return home() / DOWNLOADS / name


def record_file(name: str) -> Path:
    """What the first download found; it outlives the model."""
    return home() / RECORDS / f"{name}.json"


def is_model(folder: Path) -> bool:
    """Whether a folder has the parts of a model."""
    return all((folder / name).is_file() for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE))


def kept_names() -> list[str]:
    """Names of all models kept."""
    folder = home() / MODELS
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and is_model(path))


@contextmanager
def locked(name: str, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold what one process at a time may do with a model; `on_wait` is called where another one holds it."""
    from filelock import FileLock, Timeout

    folder = home() / MODELS
    with writes_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def new_folder(name: str) -> Iterator[Path]:
    """A folder that takes the place of the model when the block ends well and is removed otherwise; under its lock."""
    target = model_folder(name)
    staging = target.with_name(f".{name}.new")
    shutil.rmtree(staging, ignore_errors=True)  # of a process that was killed
    with writes_to(target.parent):
        staging.mkdir(parents=True)
    try:
        yield staging
        if target.exists():
            remove(target)
        with writes_to(target.parent):
            staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """An empty folder for parts of a model, removed in the end; under the lock of the model."""
    scratch = model_folder(name).with_name(f".{name}.parts")
    shutil.rmtree(scratch, ignore_errors=True)
    with writes_to(scratch.parent):
        scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def remove(folder: Path) -> None:
    """Delete a folder: away in one step first, so that nobody finds half a model."""
    doomed = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(doomed, ignore_errors=True)
    with writes_to(folder.parent):
        folder.rename(doomed)
        shutil.rmtree(doomed)


def require_room(num_bytes: int) -> None:
    """BundleError unless so much fits where models are kept."""
    existing = home()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < num_bytes:
        raise BundleError(
            f"{home()}: {megabytes(free)} are free, {megabytes(num_bytes)} are needed; free space, or name another "
            f"folder in {HOME_VARIABLE}"
        )


@contextmanager
def writes_to(folder: Path) -> Iterator[None]:
    """What the system refuses is a BundleError that names the folder and the way out."""
    try:
        yield
    except OSError as error:
        raise BundleError(
            f"{folder}: cannot be written ({error.strerror or error}); free space, or name another folder in "
            f"{HOME_VARIABLE}"
        ) from error
