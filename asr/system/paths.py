"""Paths that do not exist, and which were perhaps meant."""

from __future__ import annotations

import difflib
from pathlib import Path

MOST_NAMES = 5000  # of a folder, to compare with


def nearest(path: Path) -> Path | None:
    """The existing path whose names are nearest to those of one that does not exist; None if a name is near to none."""
    base, missing = path, []
    while not base.exists() and base != base.parent:
        missing.append(base.name)
        base = base.parent
    for name in reversed(missing):
        if not base.is_dir():
            return None
        try:
            names = [entry.name for entry in base.iterdir()]
        except OSError:
            return None
        close = difflib.get_close_matches(name, names, n=1) if len(names) <= MOST_NAMES else []
        if not close:
            return None
        base /= close[0]
    return base if missing else None


def meant(path: Path) -> str:
    """A hint to append to an error about a path that does not exist: `; did you mean 'dev.jsonl'?`, or nothing."""
    near = nearest(path)
    return f"; did you mean '{near}'?" if near is not None else ""


def where_to_look(path: Path) -> str:
    """What to append to an error about a path that cannot be read: which was meant, or where relative ones start."""
    if (hint := meant(path)) or path.is_absolute():
        return hint or "; check the path"
    return f"; relative paths start at the working directory, {Path.cwd()}"
