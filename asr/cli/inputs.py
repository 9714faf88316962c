"""What a command is to read, looked at before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asr.errors import AsrError, ConfigError


def require_files(*paths: Path | str | None) -> None:
    """AsrError if one of these paths does not exist; None stands for an option that was not given."""
    from asr.system.paths import meant

    for path in paths:
        if path is not None and not Path(path).exists():
            raise AsrError(f"{path}: there is no such file or folder{meant(Path(path))}")


def require_lm(lm: str | None) -> None:
    """As `require_files` for --lm, which may be 'none'."""
    require_files(None if lm == "none" else lm)


def require_model(model: Path) -> Path:
    """The folder of a model that is given as a folder or by name, fetched if need be; its parts are not read.

    BundleError unless all of them are there.
    """
    from asr.bundle.store import find_model

    return find_model(model)


def require_some_source(sources: Sequence[str]) -> None:
    """AsrError if all sources are paths of nothing. Patterns and standard input are not looked at."""
    is_missing = [
        source != "-" and not any(sign in source for sign in "*?[") and not Path(source).exists() for source in sources
    ]
    if all(is_missing):
        require_files(*sources)


def check_overrides(overrides: Sequence[str] | None, *groups: str) -> None:
    """ConfigError for a setting of a trained model that belongs to none of these groups and so can have no effect."""
    for override in overrides or ():
        key = override.partition("=")[0]
        if not any(key.startswith(f"{group}.") for group in groups):
            several = " and ".join(f"{group}.*" for group in groups)
            verb = "lists" if len(groups) == 1 else "list"
            listed = " and ".join(f"`asr config {group}`" for group in groups)
            raise ConfigError(
                f"--set {override}: of a trained model, {several} settings can be changed; {listed} {verb} them"
            )
