"""Cues that can be read: the text of a transcript cut into subtitles at the best points.

Two times the cheapest way of cutting a row of pieces is looked for, by dynamic programming: the text between two pauses
is cut into cues, then each cue into lines, as few as can hold it. Prices say what readers dislike: a cut inside a
phrase, a cue too brief or too full to be read, a word left alone.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from asr.errors import ConfigError
from asr.text.tokenizer.word_breaks import is_spaceless
from asr.transcribe.timed_text import Piece, joined, timed_pieces
from asr.transcribe.timeline import by_channel, disjoint, milliseconds, recording_end
from asr.types import Segment, Transcript

# Marks after which a text is best cut, and what may stand behind them; full-width ones are made ordinary first.
SENTENCE_END = frozenset(".!?。؟।")
CLAUSE_END = frozenset(",;:—\u2013،؛、")
CLOSING = "\"')]»」』\u2019\u201d"

_ABBREVIATION = re.compile(r"(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Messrs|Mme|Sr|Sra|Hr|Fr)\.")  # a name goes on

ROUNDING = 1e-6  # seconds

# Prices, in cues: what is as bad as one cue more.
INSIDE_PHRASE = 1.0  # a cut where there is no mark
BEFORE_NAME = 1.5  # after "Mr."
INSIDE_SENTENCE = 0.5  # a cut after a comma
BRIEF = 2.0  # shown for no time at all; in proportion up to the shortest duration
FAST = 1.0  # twice as many characters a second as can be read; in proportion
UNEVEN = 0.5  # next to no text, of what a cue may hold
LINE = 100.0  # above all others together: as few lines as possible


@dataclass(frozen=True)
class SubtitleRules:
    """What a subtitle may be. ConfigError for a value out of range.

    Lines, their length, the longest duration and pauses are kept always, but for a character wider than a line. The
    others are kept where the speech leaves room.
    """

    max_line_length: int = 42  # columns; a Chinese character takes two
    max_lines: int = 2  # of a cue
    max_duration: float = 7.0  # seconds
    min_duration: float = 5 / 6  # seconds; a shorter cue stays on in the silence after it
    min_gap: float = 0.08  # seconds between cues, two frames of video; at most half of the time between two starts
    max_chars_per_second: float = 17.0  # a fuller cue stays on in the silence after it
    pause_seconds: float = 0.8  # a silence this long, or longer, is inside no cue; with 0, each word is a cue

    def __post_init__(self) -> None:
        for name in ("max_line_length", "max_lines"):
            if not (value := getattr(self, name)) >= 1:
                raise ConfigError(f"subtitles: {name} is {value}; it must be at least 1")
        for name in ("min_duration", "min_gap", "pause_seconds"):
            if not (value := getattr(self, name)) >= 0:
                raise ConfigError(f"subtitles: {name} is {value}; it must not be negative")
        for name in ("max_duration", "max_chars_per_second"):
            if not (value := getattr(self, name)) > 0:
                raise ConfigError(f"subtitles: {name} is {value}; it must be above 0")


DEFAULT_RULES = SubtitleRules()


@dataclass(frozen=True)
class Cue:
    """A subtitle."""

    start: int  # milliseconds
    end: int  # milliseconds, after the start
    lines: tuple[str, ...]
    channel: int | None  # from 0


def lay_out_cues(transcript: Transcript, duration: float, rules: SubtitleRules = DEFAULT_RULES) -> list[Cue]:
    """Cues in order of time, within a recording of `duration` seconds.

    No cue holds text of two segments, unless a sentence goes on from one to the next without a pause, as where a model
    that writes punctuation heard it in two windows. Cues of the same channel do not overlap.
    """
    limit = recording_end(transcript, duration)
    cues = [
        cue for channel, segments in by_channel(transcript).items() for cue in _cues(channel, segments, limit, rules)
    ]
    return sorted(cues, key=lambda cue: cue.start)


def cheapest_split(size: int, prices: Callable[[int], Iterable[float]]) -> list[tuple[int, int]]:
    """The parts (start, stop), in order, into which a row of `size` items is cut at the least price.

    `prices(start)` gives the prices of the parts from `start` to start + 1, start + 2 and so on while they are allowed;
    the first always is.
    """
    best = [0.0] + [math.inf] * size
    part_start = [0] * (size + 1)
    for start in range(size):
        for stop, price in enumerate(prices(start), start=start + 1):
            if best[start] + price < best[stop]:
                best[stop], part_start[stop] = best[start] + price, start
    stops = [size]
    while stops[-1]:
        stops.append(part_start[stops[-1]])
    return list(itertools.pairwise(reversed(stops)))


def _cues(channel: int | None, segments: Sequence[Segment], limit: int, rules: SubtitleRules) -> list[Cue]:
    """The cues of a channel."""
    groups = list(_sentences_joined([list(_between_pauses(segment, rules)) for segment in segments], rules))
    blocks = []
    for group, (_, following) in zip(groups, itertools.pairwise([*groups, None]), strict=True):
        until = following[0].start if following else limit / 1000
        prices = functools.partial(_cue_prices, group, until=until, rules=rules)
        blocks += [group[start:stop] for start, stop in cheapest_split(len(group), prices)]
    spans = [(milliseconds(block[0].start, limit), milliseconds(block[-1].end, limit)) for block in blocks]
    spoken = disjoint(spans, limit)
    limits = itertools.pairwise([*(start for start, _ in spoken), None])
    return [
        Cue(start, _shown_until(start, end, following, limit, _width(block), rules), _lines(block, rules), channel)
        for block, (start, end), (_, following) in zip(blocks, spoken, limits, strict=True)
    ]


def _between_pauses(segment: Segment, rules: SubtitleRules) -> Iterator[list[Piece]]:
    group: list[Piece] = []
    for piece in timed_pieces(segment, rules.max_line_length):
        if group and max(piece.start - group[-1].end, 0.0) >= rules.pause_seconds - ROUNDING:
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def _sentences_joined(segments: Sequence[Sequence[list[Piece]]], rules: SubtitleRules) -> Iterator[list[Piece]]:
    """The groups of all segments; where a sentence goes on, the last of one and the first of the next are one."""
    filled = [groups for groups in segments if groups]
    has_sentences = any(ends_sentence(groups[-1][-1].text) for groups in filled)
    held: list[Piece] = []
    for groups in filled:
        first = groups[0]
        goes_on = bool(held) and has_sentences and not ends_sentence(held[-1].text)
        if goes_on and first[0].start - held[-1].end < rules.pause_seconds - ROUNDING:
            is_spaced = not (is_spaceless(held[-1].text[-1]) or is_spaceless(first[0].text[0]))
            first = [*held, replace(first[0], spaced=is_spaced), *first[1:]]
        elif held:
            yield held
        yield from [first, *groups[1:]][:-1]
        held = groups[-1] if len(groups) > 1 else first
    if held:
        yield held


def _cue_prices(group: Sequence[Piece], first: int, until: float, rules: SubtitleRules) -> Iterator[float]:
    """Prices of cues from piece `first` on; after the group it is silent until `until` seconds."""
    start = group[first].start
    lines, line_width, width = 0, math.inf, 0
    for place in range(first, len(group)):
        piece = group[place]
        line_width += piece.spaced + piece.width
        width += piece.width + (piece.spaced and place > first)
        if line_width > rules.max_line_length:
            lines, line_width = lines + 1, piece.width
        if place > first and (lines > rules.max_lines or piece.end - start > rules.max_duration):
            return
        is_last = place == len(group) - 1
        following = until if is_last else group[place + 1].start
        shown = min(max(following - start, 0.001), rules.max_duration)
        pause = 1.0 if is_last else max(following - piece.end, 0.0) / max(rules.pause_seconds, ROUNDING)
        filled = width / (rules.max_lines * rules.max_line_length)
        yield (
            1.0
            + _cut_price(piece) * (1.0 - min(pause, 1.0))
            + BRIEF * max(1.0 - shown / rules.min_duration if rules.min_duration else 0.0, 0.0)
            + FAST * max(width / shown / rules.max_chars_per_second - 1.0, 0.0)
            + UNEVEN * (1.0 - filled) ** 2
        )


def _lines(block: Sequence[Piece], rules: SubtitleRules) -> tuple[str, ...]:
    """The lines of a cue: as few as can hold it, of similar lengths, cut after a mark where there is one."""
    goal = max(_width(block), 1) / max(math.ceil(_width(block) / rules.max_line_length), 1)

    def prices(first: int) -> Iterator[float]:
        width = 0
        for place in range(first, len(block)):
            width += block[place].width + (block[place].spaced and place > first)
            if width > rules.max_line_length and place > first:
                return
            is_last = place == len(block) - 1
            yield LINE + (width / goal - 1.0) ** 2 + (0.0 if is_last else _cut_price(block[place]))

    return tuple(joined(block[start:stop]) for start, stop in cheapest_split(len(block), prices))


def _cut_price(piece: Piece) -> float:
    """What it costs to cut the text after a piece."""
    if ends_sentence(piece.text):
        return 0.0
    if _is_title(piece.text):
        return BEFORE_NAME
    return INSIDE_SENTENCE if _last_mark(piece.text) in CLAUSE_END else INSIDE_PHRASE


def ends_sentence(text: str) -> bool:
    """Whether a sentence is over behind a word; it is not behind "Mr." or an initial."""
    return _last_mark(text) in SENTENCE_END and not _is_title(text)


def _is_title(text: str) -> bool:
    """Whether a name goes on after an abbreviation."""
    return bool(_ABBREVIATION.fullmatch(text.lstrip("\"'(\u201c\u2018")))


def _last_mark(text: str) -> str:
    return unicodedata.normalize("NFKC", text[-4:]).rstrip(CLOSING)[-1:]


def _width(block: Sequence[Piece]) -> int:
    return sum(piece.width + piece.spaced for piece in block) - block[0].spaced


def _shown_until(start: int, end: int, following: int | None, limit: int, width: int, rules: SubtitleRules) -> int:
    """When a cue that is spoken from `start` to `end` goes; `following` is when the next comes. All in milliseconds."""
    seconds = max(rules.min_duration, width / rules.max_chars_per_second)
    room = limit if following is None else following - min(1000 * rules.min_gap, (following - start) / 2)
    shown = min(max(end, start + 1000 * seconds), room, start + 1000 * rules.max_duration)
    return max(math.floor(shown), start + 1)
