"""Shards behind http: whole files, fetched once, checked, and shared by all processes of a machine."""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import http.client
import os
import shutil
import tempfile
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asr.data.download import download
from asr.errors import AsrError, DownloadError

ATTEMPTS = 5
FIRST_PAUSE = 1.0  # seconds after the first failure, twice as long after each further one
NUM_WINDOWS_KEPT = 3  # the one being read, the next, and the one before, which a slow worker may still be reading


def is_address(place: str) -> bool:
    """Whether a place is an http(s) address, not a path."""
    return place.startswith(("http://", "https://"))


class ShardStore:
    """Local copies of remote files.

    In a folder that the user names they stay. Without one they go to a folder of this user and this index among the
    system's temporary files, where a run that was killed finds them again: those of a few windows, until the end.
    """

    def __init__(self, index: str, folder: Path | None, window: int) -> None:
        digest = hashlib.sha256(index.encode()).hexdigest()[:16]
        self.is_temporary = folder is None
        self.folder = folder or Path(tempfile.gettempdir()) / f"asr-shards-{os.getuid()}-{digest}"
        self.window = window
        if self.is_temporary:
            atexit.register(shutil.rmtree, self.folder, ignore_errors=True)

    def fetch(self, url: str, sha256: str) -> Path:
        """The local copy of a file; DownloadError if it cannot be had, or is not the one that the index describes."""
        path = self.folder / f"{sha256[:16]}-{url.rsplit('/', 1)[-1]}"
        if not path.exists():
            with self._locked(path):
                fetch_with_patience(url, path, sha256)
                if self.is_temporary and path.suffix == ".tar":
                    self._drop_oldest()
        return path

    def fetch_anew(self, url: str) -> Path:
        """A fresh copy of a file without a checksum."""
        path = self.folder / f"fresh-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
        with self._locked(path):
            path.unlink(missing_ok=True)
            return fetch_with_patience(url, path, None)

    def _drop_oldest(self) -> None:
        shards = sorted(self.folder.glob("*.tar"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in shards[NUM_WINDOWS_KEPT * self.window :]:
            path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """One process or thread at a time, also when others want the same file."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = open(path.with_name(f"{path.name}.lock"), "w")
        except OSError as error:
            raise AsrError(
                f"{self.folder}: cannot keep shards here ({error.strerror}); set data.shard_cache"
            ) from error
        if self.is_temporary and self.folder.stat().st_uid != os.getuid():
            raise AsrError(f"{self.folder}: belongs to another user; set data.shard_cache to a folder of yours")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def fetch_with_patience(url: str, path: Path, sha256: str | None) -> Path:
    """Download a file, with pauses after failures that may pass; the DownloadError of the last attempt otherwise."""
    pause = FIRST_PAUSE
    for _ in range(ATTEMPTS - 1):
        try:
            return download(url, path, sha256=sha256)
        except DownloadError as error:
            if not _may_pass(error):
                raise
        time.sleep(pause)
        pause *= 2
    return download(url, path, sha256=sha256)


def _may_pass(error: DownloadError) -> bool:
    """Not so where the server says that the request itself is wrong, and a full disk does not empty itself."""
    cause = error.__cause__
    if isinstance(cause, urllib.error.HTTPError):
        return cause.code >= 500 or cause.code in (408, 429)
    passing = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)
    return cause is None or isinstance(cause, passing)  # without a cause: it broke off, or came damaged
