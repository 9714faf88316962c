"""What a command is to write, looked at before it begins: nothing it reads, and nothing it cannot write."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from asr.errors import AsrError, UsageError


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path | str | None]) -> None:
    """Refuse files to write that are also read or written twice (UsageError), or cannot be written (AsrError).

    A file is itself under any name: relative, absolute, through symbolic links. None stands for an option that was not
    given, and what is no regular file (a pipe, /dev/null) may be read, written and named twice. Inputs are looked at
    only if an output exists already.
    """
    existing: dict[tuple[int, int], Path] = {}
    seen: dict[str, Path] = {}
    for output in outputs:
        if output is None:
            continue
        check_writable(output)
        if (key := _identity(output)) is not None:
            existing[key] = output
        if output.exists() and key is None:
            continue
        if (other := seen.setdefault(os.path.realpath(output), output)) is not output:
            raise UsageError(f"{output}: two outputs would be written to it ({other}); give each a file of its own")
    for path in inputs if existing else ():
        if path is not None and (key := _identity(Path(path))) in existing:
            raise UsageError(f"{existing[key]}: would be written over {path}, which is read; choose another output")


def check_inside(outputs: Iterable[Path], folder: Path, mine: Iterable[Path] = ()) -> None:
    """As `check_outputs` for a folder that is read as a whole: no file in it may be written over, but for `mine`."""
    ours = {_identity(path) for path in mine}
    check_outputs((path for path in outputs if _identity(path) not in ours), _files_below(folder))


def check_writable(path: Path) -> None:
    """AsrError unless a file can be written at `path`, in a folder that exists or can be made."""
    try:
        if path.is_dir():
            raise AsrError(f"{path}: is a folder; name a file")
        if path.exists() and os.access(path, os.W_OK):
            return
    except OSError as error:
        raise AsrError(f"{path}: cannot be written ({error.strerror})") from error
    check_folder(Path(os.path.realpath(path)).parent, path)


def check_folder(folder: Path, wanted: Path | None = None) -> None:
    """AsrError, naming `wanted` or the folder, unless files can be made in the folder, which may not exist yet."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise AsrError(f"{wanted or folder}: cannot be written, {existing} is no folder; choose another place")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise AsrError(f"{wanted or folder}: cannot be written, {existing} is read-only; choose another place")


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a regular file from all others; None if there is none."""
    try:
        about = path.stat()
    except (OSError, ValueError):
        return None
    return (about.st_dev, about.st_ino) if stat.S_ISREG(about.st_mode) else None


def _files_below(folder: Path) -> Iterator[Path]:
    for place, _, files in os.walk(folder):
        yield from (Path(place, name) for name in files)
