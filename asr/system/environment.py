"""What a run depends on besides its configuration and data: source code, versions, threads, hardware."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

TOOLKIT = Path(__file__).resolve().parent  # the package `asr`
PACKAGES = ("numpy", "soundfile", "soxr", "sentencepiece", "safetensors", "pydantic", "PyYAML", "rapidfuzz", "numba")
HARMLESS = ("cores",)  # entries of a record that leave every result as it is


@dataclass(frozen=True)
class GitState:
    """The checkout that a folder belongs to."""

    root: Path
    commit: str  # 12 hexadecimal digits
    diff: str  # of all tracked files against the commit; "" if nothing was changed

    def __str__(self) -> str:
        """`481d4a47caa6`, or `481d4a47caa6+3f2a9c01d7b4` with changes."""
        return self.commit + (f"+{self.changes}" if self.diff else "")

    @property
    def changes(self) -> str:
        """12 hexadecimal digits of the diff's SHA-256: the same changes have the same name everywhere."""
        return hashlib.sha256(self.diff.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def git_state(folder: Path) -> GitState | None:
    """Commit and changes of the repository that `folder` lies in; None outside of one, and where git is missing."""
    try:
        root = Path(_git(folder, "rev-parse", "--show-toplevel").rstrip("\n"))
        commit = _git(root, "rev-parse", "--short=12", "HEAD").strip()
        # Git's plain format, whatever the user's settings; hashes stand for binary files.
        diff = _git(root, "diff", "HEAD", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv")
    except (OSError, subprocess.SubprocessError):
        return None
    return GitState(root, commit, diff)


def toolkit_state() -> GitState | None:
    """The toolkit's own checkout; None where it was installed otherwise, be it below somebody else's checkout."""
    state = git_state(TOOLKIT)
    if state is None:
        return None
    try:
        _git(state.root, "ls-files", "--error-unmatch", str(TOOLKIT / "__init__.py"))
    except (OSError, subprocess.SubprocessError):
        return None
    return state


def project_state() -> GitState | None:
    """The checkout that the working directory lies in, where that is not the toolkit's own."""
    project, toolkit = git_state(Path.cwd()), toolkit_state()
    same = project is not None and toolkit is not None and project.root == toolkit.root
    return None if same else project


def environment(device: torch.device | None = None, ranks: int = 1) -> dict[str, Any]:
    """Source code, versions and hardware that decide whether a result can be repeated bit for bit.

    All values are strings, numbers or None. `device` is where the model runs. `ranks` are the processes that train
    together. A package that is not installed is left out.
    """
    import torch

    from asr import __version__

    toolkit, project = toolkit_state(), project_state()
    record: dict[str, Any] = {
        "asr": __version__,
        "commit": str(toolkit) if toolkit else None,
        **({"project": str(project)} if project else {}),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **_versions(),
        "threads": torch.get_num_threads(),
        "ranks": ranks,
        "machine": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
    }
    if device is not None:
        record["device"] = device.type
    if device is not None and device.type == "cuda":
        record |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return record


def changed(record: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a former record that differ now, with their present values; entries it lacks are not compared."""
    return {key: now.get(key) for key, was in record.items() if key not in HARMLESS and now.get(key) != was}


def cpu_name() -> str:
    """The processor's name as its maker gives it, or the kind of machine where the system gives none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name.lower()] = version(name)
        except PackageNotFoundError:  # numba is optional
            continue
    return found


def _git(folder: Path, *arguments: str) -> str:
    """What git prints; undecodable bytes survive as surrogates."""
    result = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        check=True,
        timeout=30,
        encoding="utf-8",
        errors="surrogateescape",
    )
    return result.stdout
