"""Corpora from the net: downloads that resume and are verified, archives that stay inside their folder."""

from __future__ import annotations

import hashlib
import http.client
import lzma
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from asr.errors import DownloadError

CHUNK_BYTES = 1 << 18
TIMEOUT = 30.0  # seconds without a byte

Progress = Callable[[int, int | None], None]


def download(
    url: str,
    destination: Path | str,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    progress: Progress | None = None,
    headers: Mapping[str, str] | None = None,
) -> Path:
    """Fetch a file, going on where an earlier attempt broke off, and return `destination`.

    Until it is complete and its checksum (hex) right, the file is called NAME.part. A file that is there already
    and has the right checksum, or for which none is given, is not fetched again. A broken connection is taken up again
    for as long as it brings bytes; a server without ranges makes the file start over. `progress` is called with the
    bytes here so far and in all (None if unknown). `headers` go to the server of the url, not to where it redirects.

    DownloadError if the server cannot be reached, refuses or breaks off (what came stays, to go on from), if the file
    cannot be written, and if the checksum is wrong (what came is removed).
    """
    destination = Path(destination)
    target = Path(os.path.realpath(destination))  # a symbolic link stays one
    part = target.with_name(target.name + ".part")
    try:
        if destination.exists() and _fault(destination, sha256, md5) is None:
            return destination
        target.parent.mkdir(parents=True, exist_ok=True)
        while not _fetch(url, part, progress, headers or {}):
            pass
        if fault := _fault(part, sha256, md5):
            part.unlink()
            raise DownloadError(f"{url}: {fault}; it was removed, download it again or check for a newer release")
        part.replace(target)
    except OSError as error:
        raise DownloadError(f"{destination}: cannot be written ({error.strerror or error})") from error
    return destination


def extract(archive: Path | str, folder: Path | str) -> Path:
    """Unpack a tar (plain or compressed) or zip archive into a folder, made if absent, and return the folder.

    Nothing appears in the folder before all is unpacked. DownloadError for a damaged archive, and for one with a
    member that would land outside the folder.
    """
    archive, folder = Path(archive), Path(folder)
    staging = folder / f".{archive.name}.unpacking"
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        if zipfile.is_zipfile(archive):
            _extract_zip(archive, staging)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(staging, filter="data")
        _move_into(staging, folder)
    except tarfile.FilterError as error:
        raise DownloadError(f"{archive}: refused, an entry would leave the folder ({error})") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DownloadError(f"{archive}: damaged or not an archive ({error}); download it again") from error
    except OSError as error:
        raise DownloadError(f"{archive}: cannot be unpacked into {folder} ({error.strerror or error})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _fetch(url: str, part: Path, progress: Progress | None, headers: Mapping[str, str]) -> bool:
    """Fetch what is missing of `part` over one connection; False if it broke but brought some of it."""
    present = part.stat().st_size if part.exists() else 0
    start = present
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    for name, value in headers.items():
        request.add_unredirected_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            if start and response.status != http.HTTPStatus.PARTIAL_CONTENT:
                start = 0  # the server sends the whole file
            length = response.headers.get("Content-Length")
            total = start + int(length) if length is not None else None
            with open(part, "r+b" if start else "wb") as file:
                file.seek(start)
                here = _copy(response, file, start, total, progress)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return _is_whole(part, error.headers.get("Content-Range", ""))
        raise DownloadError(f"{url}: the server answers {error.code} {error.reason}; check the address") from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise DownloadError(f"{url}: cannot be reached ({reason}); check the network and run it again") from error
    if total is None or here == total:
        return True
    if here <= present:
        raise DownloadError(f"{url}: broke off after {here} of {total} bytes; run it again to go on from there")
    return False


def _copy(response: IO[bytes], file: IO[bytes], here: int, total: int | None, progress: Progress | None) -> int:
    """Copy until the end or until the connection breaks; the position reached."""
    while True:
        try:
            chunk = response.read(CHUNK_BYTES)
        except (OSError, http.client.HTTPException):
            return here
        if not chunk:
            return here
        file.write(chunk)
        here += len(chunk)
        if progress is not None:
            progress(here, total)


def _is_whole(part: Path, content_range: str) -> bool:
    """After "range not satisfiable": the file is all here (`bytes */SIZE`), or else stale and removed to start over."""
    if content_range == f"bytes */{part.stat().st_size}":
        return True
    part.unlink()
    return False


def _fault(path: Path, sha256: str | None, md5: str | None) -> str | None:
    for name, wanted in (("sha256", sha256), ("md5", md5)):
        if wanted is not None:
            with open(path, "rb") as file:
                found = hashlib.file_digest(file, name).hexdigest()
            if found != wanted.lower():
                return f"the file is damaged or another one ({name} {found}, expected {wanted.lower()})"
    return None


def _extract_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as members:
        for name in members.namelist():
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise DownloadError(f"{archive}: refused, entry '{name}' would leave the folder")
        members.extractall(folder)


def _move_into(source: Path, target: Path) -> None:
    """Move what a folder holds into another, file by file where a folder of that name is there already."""
    for path in source.iterdir():
        if path.is_dir() and not path.is_symlink() and (target / path.name).is_dir():
            _move_into(path, target / path.name)
        else:
            path.replace(target / path.name)
