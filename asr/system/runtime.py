"""Seeds, devices, memory and files that are written whole."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from asr.errors import AsrError, ConfigError

if TYPE_CHECKING:
    import numpy as np
    import torch

DTYPES = ("auto", "float32", "bfloat16", "int8")
TEMPORARY = ".tmp"  # how names of files end that are still being written


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from (seed, epoch, utterance id, purpose) or the like; the same on every machine."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def derive_rng(*parts: object) -> np.random.Generator:
    """A fresh numpy generator for one purpose and one example; it must not outlive them."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(derive_seed(*parts)))


def resolve_device(name: str) -> torch.device:
    """`auto` takes CUDA, then CPU; a name torch does not know or a device that is absent is a ConfigError."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device '{name}' is unknown; use auto, cpu or cuda[:N]") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device '{name}' asked for, but torch sees no CUDA device; use --device cpu")
    return device


def resolve_dtype(name: str) -> torch.dtype:
    """The type that `DTYPES` autocast to, float32 but for bfloat16; ConfigError for an unknown one."""
    import torch

    if name not in DTYPES:
        raise ConfigError(f"dtype '{name}' is unknown; use one of {', '.join(DTYPES)}")
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 matrices in hardware; without, a processor takes a hundred times as long."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if platform.machine() in ("arm64", "aarch64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def peak_memory_mb() -> float | None:
    """Most megabytes that this process and the largest one it started ever held; None where no system call gives it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1e6 if platform.system() == "Darwin" else 1e3  # bytes there, kilobytes elsewhere
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(who).ru_maxrss for who in whose) / unit


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well its content goes to `path`, and it is removed in any case.

    Readers of a regular file see the old content or the new, never half of it, and a full disk leaves the old in place:
    the temporary file lies beside it and is renamed. A symbolic link stays one, its target gets the content. What is no
    regular file (a device, a named pipe, /dev/stdout) is written to and never replaced. AsrError if the system refuses.
    """
    try:
        with _written_through(path) if _is_kept(path) else _replaced(Path(os.path.realpath(path))) as temporary:
            yield temporary
    except OSError as error:
        raise AsrError(
            f"{path}: cannot write ({error.strerror or error}); free space or choose another folder"
        ) from error


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name, and its permissions where it exists, in the end."""
    if path.is_symlink():  # resolved, and still a link
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        if path.is_file():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _written_through(path: Path) -> Iterator[Path]:
    """A temporary path elsewhere, whose content is written to what stands at `path` in the end."""
    with tempfile.TemporaryDirectory(prefix="asr-") as folder:
        temporary = Path(folder, path.name)
        yield temporary
        descriptor = _open_descriptor(path)
        if descriptor is None:
            target = open(path, "wb")
        else:  # opened anew, a file behind it would be written from its beginning
            sys.stdout.flush()
            sys.stderr.flush()
            target = os.fdopen(os.dup(descriptor), "wb")
        with target, open(temporary, "rb") as content:
            shutil.copyfileobj(content, target)


def _is_kept(path: Path) -> bool:
    """Whether something stands at `path` that no other file can take the place of, seen through symbolic links."""
    if _open_descriptor(path) is not None:
        return True
    if not path.exists():
        return False
    # Without leave to write in its folder a file can still be written; what is mounted cannot be renamed over.
    is_regular = path.is_file() and os.access(path.resolve().parent, os.W_OK)
    return not path.is_dir() and (not is_regular or os.path.ismount(path))


def _open_descriptor(path: Path) -> int | None:
    """The number of this process's open file that `path` names: 1 for /dev/stdout, N for /dev/fd/N; None otherwise."""
    own = Path(os.path.realpath("/proc/self/fd"))
    place = path.absolute()
    for _ in range(40):  # links, the most that Linux follows
        place = Path(os.path.realpath(place.parent), place.name)
        if place.parent == own and place.name.isdecimal():
            return int(place.name)
        if not place.is_symlink():
            return None
        place = place.parent / place.readlink()
    return None


def remove_temporary_files(folder: Path) -> None:
    """Delete what killed processes left in the middle of `atomic_path`; nobody else may be writing below `folder`."""
    for leftover in folder.rglob(f".*{TEMPORARY}"):
        if leftover.suffixes[-2:-1] and leftover.suffixes[-2][1:].isdigit():  # the number of a process
            leftover.unlink(missing_ok=True)


@contextmanager
def written_on(path: Path) -> Iterator[None]:
    """Around writes to a file that a run keeps open: what the system refuses is an AsrError that says how to resume."""
    try:
        yield
    except OSError as error:
        raise AsrError(f"{path}: cannot write ({error.strerror}); free space, then use --resume") from error


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 text so that a crash leaves either the old file or the new one."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
