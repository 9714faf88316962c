"""The text of a segment as pieces with times, between which it may be broken."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asr.transcribe.display import display_width, one_line, unbreakable_parts
from asr.types import Segment, Word


@dataclass(frozen=True)
class Piece:
    """A stretch of text that stays together."""

    text: str
    width: int  # columns on a screen
    spaced: bool  # a space stands before it, unless it begins a line
    start: float  # seconds
    end: float  # seconds


def timed_pieces(segment: Segment, max_width: int) -> list[Piece]:
    """The text of a segment in order, each piece at most `max_width` columns unless a single character is wider.

    Pieces have the times of the words they are from. Where the words of the text and those with times differ, or a word
    is several pieces, these share the time by their widths.
    """
    pieces = []
    for text, start, end in _timed_stretches(segment):
        parts = [
            (part, place == 0 and number > 0)
            for number, word in enumerate(text.split(" "))
            if word
            for place, part in enumerate(unbreakable_parts(word, max_width))
        ]
        widths = [display_width(part) for part, _ in parts]
        shares = list(itertools.accumulate((max(width, 1) for width in widths), initial=0))
        edges = [start + (end - start) * share / shares[-1] for share in shares]
        pieces += [
            Piece(part, width, spaced, *edge)
            for (part, spaced), width, edge in zip(parts, widths, itertools.pairwise(edges), strict=True)
        ]
    return pieces


def joined(pieces: Sequence[Piece]) -> str:
    """Pieces on one line."""
    return "".join(" " * (piece.spaced and place > 0) + piece.text for place, piece in enumerate(pieces))


def _timed_stretches(segment: Segment) -> Iterator[tuple[str, float, float]]:
    """The text cut where its timed words begin, with their times; one stretch if the words are not those of the text.

    What stands between two words belongs to the first up to the last space, and to the second from there on.
    """
    text = one_line(segment.text)
    places = places_of(text, segment.words)
    if not places:
        if text:
            yield text, segment.start, segment.end
        return
    cuts = [0]
    for (_, stop, _), (found, _, _) in itertools.pairwise(places):
        space = text.rfind(" ", stop, found)
        cuts.append(found if space < 0 else space)
    for (_, _, word), (start, stop) in zip(places, itertools.pairwise([*cuts, len(text)]), strict=True):
        yield text[start:stop], word.start, word.end


def places_of(text: str, words: Sequence[Word]) -> list[tuple[int, int, Word]]:
    """Where in the text each word starts and stops; none at all if one is not there."""
    places = []
    reached = 0
    for word in words:
        written = one_line(word.text)
        found = text.find(written, reached)
        if found < 0:
            return []
        reached = found + len(written)
        if written:
            places.append((found, reached, word))
    return places
