"""sclite's marks in texts, read into networks of words.

    i've { um / uh / @ } seen {the / this} one      alternatives; @ is nothing; they may stand in one another
    i (uh) know                                     a word in parentheses may be left out

Outside braces a "/" is part of its word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

from asr.errors import ScoringError
from asr.scoring.sclite.network import Arc, Network

_TOKEN = re.compile(r"[{}]|[^\s{}]+")
_NOTHING = "@"
_MARKS = re.compile(r"[{}@(]")

Clean = Callable[[str], list[str]]


def has_marks(text: str) -> bool:
    """Whether there may be something to read."""
    return _MARKS.search(text) is not None


def read_marks(text: str, clean: Clean) -> Network:
    """The network of a text; `clean` makes words of each run of it between marks. ScoringError on unpaired braces."""
    return Network(_Reader(text, clean).arcs())


class _Reader:
    """Reads tokens one after the other; node numbers are given as they come."""

    def __init__(self, text: str, clean: Clean) -> None:
        self._text = text
        self._clean = clean
        self._tokens = list(_tokens(text))
        self._place = 0
        self._new_node = count(2)

    def arcs(self) -> list[Arc]:
        arcs = self._sequence(0, 1, is_inner=False)
        if self._token is not None:
            raise self._error("'}' without '{'")
        return arcs

    @property
    def _token(self) -> str | None:
        """The next one, or None at the end."""
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _sequence(self, start: int, end: int, is_inner: bool) -> list[Arc]:
        """Arcs from `start` to `end` for what stands up to the end of an alternative or of the text."""
        arcs: list[Arc] = []
        node = start
        run: list[str] = []

        def append(words: list[str], may_be_left_out: bool = False) -> None:
            nonlocal node
            for word in words:
                following = next(self._new_node)
                arcs.append(Arc(node, following, word, may_be_left_out))
                node = following

        while (token := self._token) not in (None, "}") and not (is_inner and token == "/"):
            assert token is not None
            self._place += 1
            is_optional = len(token) > 2 and token.startswith("(") and token.endswith(")")
            if token not in ("{", _NOTHING) and not is_optional:
                run.append(token)
                continue
            append(self._clean(" ".join(run)))
            run.clear()
            if token == "{":
                following = next(self._new_node)
                arcs += self._alternatives(node, following)
                node = following
            elif is_optional:
                append(self._clean(token[1:-1]), may_be_left_out=True)
        append(self._clean(" ".join(run)))
        if not arcs:
            return [Arc(start, end, None)]
        return [replace(arc, end=end) if arc.end == node else arc for arc in arcs]

    def _alternatives(self, start: int, end: int) -> list[Arc]:
        arcs = self._sequence(start, end, is_inner=True)
        while self._token == "/":
            self._place += 1
            arcs += self._sequence(start, end, is_inner=True)
        if self._token is None:
            raise self._error("'{' without '}'")
        self._place += 1
        return arcs

    def _error(self, what: str) -> ScoringError:
        return ScoringError(f"{what} in '{self._text}'; alternatives are written {{ a / b }}")


def _tokens(text: str) -> Iterator[str]:
    """Words, braces and, inside braces, slashes."""
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        depth += (token == "{") - (token == "}")
        if depth > 0 and "/" in token:
            yield from filter(None, re.split("(/)", token))
        else:
            yield token
