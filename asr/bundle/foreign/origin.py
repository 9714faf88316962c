"""Where a foreign model comes from, as far as its folder tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

README_FILES = ("README.md", "readme.md", "README")
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
FENCE = "---"  # around the settings that begin a model card of the hub


@dataclass(frozen=True)
class Origin:
    """What people ask of a model they were given: what it is called elsewhere, and what they may do with it."""

    path: Path  # what was imported
    layout: str  # the toolkit's, as `ForeignFormat.name` calls it
    name: str | None = None  # as its own files call it: openai/whisper-tiny
    licence: str | None = None  # as its card names it (mit, apache-2.0), or the first line of its licence
    base_model: str | None = None  # what it was made from

    @classmethod
    def of(cls, path: Path, layout: str, name: object = None) -> Origin:
        """Look into a folder, or the one that a file lies in; what is not there or cannot be read is None."""
        folder = path if path.is_dir() else path.parent
        card = _card(folder)
        licence = _text(card.get("license")) or _first_line(folder, LICENCE_FILES)
        return cls(path, layout, _text(name), licence, _text(card.get("base_model")))


def _card(folder: Path) -> dict[str, object]:
    """The settings before the text of a model card."""
    for name in README_FILES:
        try:
            text = (folder / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if text.startswith(FENCE) and text.count(f"\n{FENCE}") > 0:
            try:
                settings = yaml.safe_load(text[len(FENCE) :].partition(f"\n{FENCE}")[0])
            except yaml.YAMLError:
                return {}
            return settings if isinstance(settings, dict) else {}
    return {}


def _first_line(folder: Path, names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            text = (folder / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        return next((line.strip() for line in text.splitlines() if line.strip()), None)
    return None


def _text(value: object) -> str | None:
    """A name in one line; None for anything else."""
    if isinstance(value, list) and value:
        value = value[0]
    return " ".join(value.split()) if isinstance(value, str) and value.strip() else None
