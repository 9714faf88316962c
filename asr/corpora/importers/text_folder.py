"""Plain folders: every audio file with its text in a .txt of the same name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from asr.audio.io import AUDIO_SUFFIXES
from asr.corpora.importers.base import Fault, ImportOptions, Row, is_hidden, read_text, register
from asr.errors import ManifestError

SUFFIX = ".txt"


@register
class TextFolderImporter:
    """Folders inside are searched, too. Line ends in a text become spaces."""

    name = "text_folder"
    summary = "a folder of audio files, each with its text in a .txt of the same name"
    takes_columns = False

    def fits(self, source: Path) -> bool:
        """A folder with an audio file that has its text beside it."""
        return source.is_dir() and any(path.with_suffix(SUFFIX).is_file() for path in _audio_files(source))

    def root(self, source: Path) -> Path:
        """The folder itself."""
        return source

    def read(self, source: Path, options: ImportOptions, root: Path) -> Iterator[Row | Fault]:
        """Rows in the order of paths; audio without text and text without audio are faults."""
        stems = set()
        for path in sorted(_audio_files(source)):
            stems.add(path.with_suffix(""))
            text = path.with_suffix(SUFFIX)
            if not text.is_file():
                yield Fault(str(path), f"there is no {text.name} beside it")
                continue
            try:
                yield Row(str(path), path, text=" ".join(read_text(text).split()))
            except ManifestError as error:
                yield Fault(str(path), str(error))
        for text in sorted(source.rglob(f"*{SUFFIX}")):
            if text.with_suffix("") not in stems and not is_hidden(text, source):
                yield Fault(str(text), "there is no audio beside it")


def _audio_files(folder: Path) -> Iterator[Path]:
    """Those that people see: macOS puts a `._a.wav` beside every a.wav on other systems' disks."""
    for path in folder.rglob("*"):
        if path.suffix.lower() in AUDIO_SUFFIXES and not is_hidden(path, folder) and path.is_file():
            yield path
