"""One process at a time trains into a folder: two would overwrite each other's checkpoints."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from asr.errors import TrainingError

CLAIM_FILE = ".training"  # exists during a run, and after it was killed


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make the folder and keep other runs out of it until the block ends.

    The claim is a lock that the operating system drops with the process, however that ends; it is not inherited by
    forked processes. TrainingError if another process holds it, or if nothing can be written there. A folder in which
    nothing was written disappears again.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _lock(folder / CLAIM_FILE)
    except BlockingIOError as error:
        raise TrainingError(f"{folder}: another process is training into it; wait, or choose another --out") from error
    except OSError as error:
        raise TrainingError(f"{folder}: cannot write there ({error.strerror}); choose another --out") from error
    try:
        yield
    finally:
        with suppress(OSError):  # a disk may have become read-only meanwhile
            (folder / CLAIM_FILE).unlink()
        file.close()
        if is_new:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def is_claimed(folder: Path) -> bool:
    """Whether a process on this machine, another than this one, is training into the folder."""
    try:
        with open(folder / CLAIM_FILE, "rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no claim, or a file system without locks
        return False
    return False


def _lock(path: Path) -> BinaryIO:
    """The file, locked; once more if its last owner deleted it between the two steps."""
    while True:
        file = open(path, "ab")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):  # a file system without locks
                return file
            file.close()
            raise
        if path.exists() and os.fstat(file.fileno()).st_ino == path.stat().st_ino:
            return file
        file.close()
