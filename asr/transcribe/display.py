"""Text as a screen shows it: how wide it is, and where a line of it may end."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# White space that separates words, and control characters; no-break spaces are neither.
SEPARATORS = re.compile(r"(?:[^\S\u00a0\u2007\u202f]|[\x00-\x08\x0e-\x1b\x7f-\x9f\ufeff])+")
SURROGATES = re.compile(r"[\ud800-\udfff]")  # what Python makes of bytes in a file's name that are not UTF-8
JOINER = "\u200d"  # between emoji that show as one
SKIN_TONES = range(0x1F3FB, 0x1F400)
HANGUL = range(0xAC00, 0xD7A4)  # as wide as Chinese, but Korean puts spaces between words
# Beside closing marks, what a line of Japanese does not begin with.
NOT_FIRST = frozenset("ーぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ々ゝゞヽヾ")


def one_line(text: str) -> str:
    """The text on one line that UTF-8 can hold: white space, line breaks and control characters are single spaces."""
    return SURROGATES.sub("\ufffd", SEPARATORS.sub(" ", text)).strip()


def display_width(text: str) -> int:
    """Columns on a screen: 2 for a Chinese, Japanese or Korean character or an emoji, 0 for a mark that joins it."""
    return len(text) if text.isascii() else sum(map(_cluster_width, _clusters(text)))


def unbreakable_parts(word: str, max_width: int) -> list[str]:
    """The pieces of a word without spaces between which a line may end.

    That is one piece for most scripts. Chinese and Japanese may be broken between any two characters, but not before a
    closing mark or after an opening one. What is wider than `max_width` is cut, but never between a character and its
    accents.
    """
    if word.isascii() and len(word) <= max_width:
        return [word]
    parts: list[str] = []
    width = 0
    for cluster in _clusters(word):
        more = _cluster_width(cluster)
        if parts and width + more <= max_width and not _may_break(parts[-1][-1], cluster[0]):
            parts[-1] += cluster
            width += more
        else:
            parts.append(cluster)
            width = more
    return parts


def _clusters(text: str) -> Iterator[str]:
    """Characters with the accents and signs that join them."""
    cluster = ""
    for character in text:
        joins = unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf") or ord(character) in SKIN_TONES
        if cluster and (joins or cluster[-1] == JOINER):
            cluster += character
            continue
        if cluster:
            yield cluster
        cluster = character
    if cluster:
        yield cluster


def _cluster_width(cluster: str) -> int:
    if any(unicodedata.east_asian_width(character) in ("W", "F") for character in cluster):
        return 2
    return int(unicodedata.category(cluster[0]) not in ("Mn", "Me", "Cf"))


def _may_break(before: str, after: str) -> bool:
    if not (_is_ideographic(before) or _is_ideographic(after)):
        return False
    is_closing = unicodedata.category(after) in ("Pe", "Pf", "Po") or after in NOT_FIRST
    return not is_closing and unicodedata.category(before) not in ("Ps", "Pi")


def _is_ideographic(character: str) -> bool:
    """Whether a script without spaces uses it."""
    is_wide = unicodedata.east_asian_width(character) == "W"
    return is_wide and unicodedata.category(character) in ("Lo", "Lm") and ord(character) not in HANGUL
