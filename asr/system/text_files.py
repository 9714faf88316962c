"""Text files that people write, with whatever editor and on whatever system."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr.errors import TextError

BYTE_ORDER_MARK = "\ufeff"


def read_text(path: Path) -> str:
    """The text of a file as `decode_text` has it, its lines ended by "\\n"; OSError as `open`."""
    return decode_text(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")


def decode_text(content: bytes) -> str:
    """UTF-8, or UTF-16 where a byte order mark says so, without any mark; UnicodeDecodeError for anything else.

    Marks stand inside files that were joined, too.
    """
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf16 else "utf-8").replace(BYTE_ORDER_MARK, "")


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, as `object_pairs_hook`; TextError if a key comes twice, of which json keeps the last alone."""
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        raise TextError(f"the key '{next(key for key in keys if keys.count(key) > 1)}' stands there twice")
    return row
