"""Exact replacements in transcripts: what a model always writes its own way, as people want it written.

A file of them is text, a line "from TAB to" for each. Both sides may be several words, and `to` may be nothing. What
stands in the text exactly as `from` does, case included, is replaced, as whole words: "Ann" is no part of "Anna". Any
white space counts as a space. Where several fit, the first in the text counts, and of those the longest; what was put
in is not looked at again. Words keep their times: where their number changes, they share the time by their lengths.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from asr.alignment.confidence import text_confidence
from asr.errors import ConfigError
from asr.system.text_files import read_text
from asr.text.tokenizer.word_breaks import is_spaceless, split_into_words
from asr.transcribe.timed_text import places_of
from asr.types import Segment, Word

WORD_BEFORE, WORD_AFTER = r"(?<!\w)(?<!\w['\u2019])", r"(?!\w|['\u2019]\w)"  # there is none: it's is one


@dataclass(frozen=True)
class Replacements:
    """Pairs (from, to), each `from` once and with single spaces."""

    pairs: tuple[tuple[str, str], ...]

    def apply(self, segment: Segment) -> Segment:
        """The segment as people want it; without any text if all of it is replaced by nothing."""
        matches = list(self._pattern.finditer(segment.text))
        if not matches:
            return segment
        text = _tidy(self._pattern.sub(self._target, segment.text))
        words = tuple(self._words(segment, matches))
        if not words:
            return replace(segment, text=text, words=())
        return replace(segment, text=text, words=words, start=words[0].start, end=words[-1].end)

    @cached_property
    def _targets(self) -> dict[str, str]:
        return dict(self.pairs)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        sources = sorted(self._targets, key=len, reverse=True)
        return re.compile("|".join(map(_bounded, sources)))

    def _target(self, match: re.Match[str]) -> str:
        return self._targets[" ".join(match[0].split())]

    def _words(self, segment: Segment, matches: Sequence[re.Match[str]]) -> Iterator[Word]:
        """The words of the new text; none where those of the old one are not found in it."""
        places = places_of(segment.text, segment.words)
        first, match = 0, 0
        while first < len(places):
            start, reached, word = places[first]
            if match == len(matches) or matches[match].start() >= reached:
                yield word
                first += 1
                continue
            stop, last = first + 1, match
            while True:  # words and matches that share letters are changed together
                if last < len(matches) and matches[last].start() < reached:
                    reached = max(reached, matches[last].end())
                    last += 1
                elif stop < len(places) and places[stop][0] < reached:
                    reached = max(reached, places[stop][1])
                    stop += 1
                else:
                    break
            text = self._changed(segment.text, min(start, matches[match].start()), reached, matches[match:last])
            yield from _retimed([place[2] for place in places[first:stop]], text)
            first, match = stop, last

    def _changed(self, text: str, start: int, stop: int, matches: Sequence[re.Match[str]]) -> str:
        """A part of the text after its matches are replaced."""
        parts = []
        for match in matches:
            parts += [text[start : match.start()], self._target(match)]
            start = match.end()
        return "".join([*parts, text[start:stop]])


def read_replacements(path: Path) -> Replacements:
    """The replacements of a file; empty lines and those that start with # do not count.

    ConfigError for a file that cannot be read or holds none, and for a line that is none, by its number.
    """
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the replacements ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text; convert it first") from error
    found: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        sides = [" ".join(unicodedata.normalize("NFC", side).split()) for side in line.split("\t")]
        if len(sides) != 2 or not sides[0]:
            raise ConfigError(f"{path}:{number}: expected what stands in a text, one tab and what to put there")
        if sides[0] in found:
            raise ConfigError(
                f"{path}:{number}: '{sides[0]}' is replaced by line {found[sides[0]][0]} already; keep one"
            )
        found[sides[0]] = number, sides[1]
    if not found:
        raise ConfigError(f"{path}: there are no replacements in it; write a line 'from TAB to' for each")
    return Replacements(tuple((source, target) for source, (_, target) in found.items()))


def _bounded(source: str) -> str:
    """The pattern of a text as whole words; scripts without spaces have no such bounds."""
    before, after = (WORD_BEFORE, WORD_AFTER)
    written = r"\s+".join(map(re.escape, source.split()))
    return (before if _is_bounded(source[0]) else "") + written + (after if _is_bounded(source[-1]) else "")


def _is_bounded(character: str) -> bool:
    return (character.isalnum() or character == "_") and not is_spaceless(character)


def _tidy(text: str) -> str:
    """Without the white space around what was replaced by nothing."""
    return " ".join(text.split())


def _retimed(old: Sequence[Word], text: str) -> list[Word]:
    """The words of a new text in the time of old ones."""
    words = [word.text for word in split_into_words((letter, place, place + 1) for place, letter in enumerate(text))]
    if len(words) == len(old):
        return [replace(word, text=written) for word, written in zip(old, words, strict=True)]
    known = [word.confidence for word in old if word.confidence is not None]
    start, end = old[0].start, old[-1].end
    shares = list(itertools.accumulate(map(len, words), initial=0))
    edges = [start + (end - start) * share / shares[-1] for share in shares] if words else []
    return [
        Word(first, last, written, text_confidence(known))
        for written, (first, last) in zip(words, itertools.pairwise(edges), strict=True)
    ]
