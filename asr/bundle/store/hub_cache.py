"""Models that other programs fetched from the hub: `models--OWNER--NAME` folders with snapshots of their files.

The layout is documented by huggingface_hub ("Understand caching"); reading it does without that package.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from asr.bundle.catalogue import HubRepo
from asr.bundle.store.files import SHARD_INDEX, UnavailableError, side_files, weight_files

SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Snapshot:
    """One revision of a repository, with all files that are needed."""

    folder: Path
    revision: str
    files: tuple[str, ...]

    def sha256(self, name: str) -> str | None:
        """What the checksum of a file should be: large ones are stored under it."""
        stored = Path(os.path.realpath(self.folder / name)).name
        return stored if SHA256.fullmatch(stored) else None


def cache_folder() -> Path:
    """Where the hub's own client keeps what it fetches."""
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    chosen = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    return Path(os.path.expandvars(chosen)).expanduser()


def find_snapshot(repo: HubRepo, revision: str | None = None) -> Snapshot:
    """The snapshot of a revision, by default of the newest that was fetched; UnavailableError without a whole one."""
    base = cache_folder() / f"models--{repo.repo.replace('/', '--')}"
    if revision is None or not re.fullmatch("[0-9a-f]{40}", revision):  # the name of a commit
        try:
            revision = (base / "refs" / (revision or "main")).read_text(encoding="utf-8").strip()
        except OSError:
            raise UnavailableError(f"{repo.repo} is not in the hub's cache ({cache_folder()})") from None
    folder = base / "snapshots" / revision
    names = [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    if not names:
        raise UnavailableError(f"{repo.repo} is not in the hub's cache ({cache_folder()})")
    try:
        weights = weight_files(names, repo.layout, lambda: folder / SHARD_INDEX)
    except UnavailableError as error:
        raise UnavailableError(f"{repo.repo} in the hub's cache {error}") from error
    side = side_files(names, repo.layout)
    if "config.json" not in side:
        raise UnavailableError(f"{repo.repo} in the hub's cache has no config.json")
    return Snapshot(folder, revision, (*side, *weights))
