"""Text files that people write, with whatever editor and on whatever system."""

from __future__ import annotations

import codecs
from pathlib import Path


def read_text(path: Path) -> str:
    """The text of a file as `decode_text` has it, its lines ended by "\\n"; OSError as `open`."""
    return decode_text(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")


def decode_text(content: bytes) -> str:
    """UTF-8, or UTF-16 where a byte order mark says so, without the mark; UnicodeDecodeError for anything else."""
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf16 else "utf-8-sig")
