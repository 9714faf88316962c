"""One text of two spans that share some audio: where their words agree, the first hands over to the second."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rapidfuzz.distance import LCSseq

from asr.alignment.confidence import text_confidence
from asr.transcribe.segmentation import Span
from asr.types import Segment, Word

MAX_DRIFT = 0.5  # seconds between the places of the same word in two spans


class Joiner:
    """Joins the segments of a recording's spans, which come in order.

    A segment is held back while the next one may share words with it.
    """

    def __init__(self) -> None:
        self._held: tuple[Span, tuple[Segment, ...]] | None = None

    def add(self, span: Span, segments: Sequence[Segment]) -> Iterator[Segment]:
        """The segments that are complete now that this span has been recognised, with these segments of its own."""
        own = tuple(segment for segment in segments if segment.text)
        if self._held is not None:
            earlier, before = self._held
            if own and span.start < earlier.end:
                before, own = _handed_over(before, own, span.start, earlier.end)
            self._held = None
            yield from before
        if own and span.continues:
            self._held = span, own
        else:
            yield from own

    def finish(self) -> Iterator[Segment]:
        """What is held back, at the end of a recording."""
        if self._held is not None:
            yield from self._held[1]
            self._held = None


def _handed_over(
    before: Sequence[Segment], after: Sequence[Segment], start: float, end: float
) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
    """`hand_over` between those of both sides, none of them empty, that reach into what is shared; one at least."""
    first = next((place for place, segment in enumerate(before) if segment.end > start), len(before) - 1)
    stop = max(1, sum(segment.start < end for segment in after))
    one, other = hand_over(merged(before[first:]), merged(after[:stop]), start, end)
    earlier, later = (*before[:first], one), (other, *after[stop:])
    return tuple(own for own in earlier if own.text), tuple(own for own in later if own.text)


def merged(segments: Sequence[Segment]) -> Segment:
    """Segments that follow each other as one."""
    if len(segments) == 1:
        return segments[0]
    words = tuple(word for segment in segments for word in segment.words)
    text = " ".join(segment.text for segment in segments)
    confidences = [word.confidence for word in words if word.confidence is not None]
    return replace(segments[0], end=segments[-1].end, text=text, words=words, confidence=text_confidence(confidences))


def hand_over(before: Segment, after: Segment, start: float, end: float) -> tuple[Segment, Segment]:
    """Two segments that both hold what is said from `start` to `end`, without what comes twice.

    Among the words that both have, in order and near the same time, the one nearest to the middle of the shared audio
    is the last of the first segment, and what follows it comes from the second one: near its ends a span lacks
    context. Where they share no word, each keeps its half. Words without times of their own share the time of
    their segment evenly.
    """
    first, second = _words(before), _words(after)
    middle = (start + end) / 2
    tail = [place for place, word in enumerate(first) if word.end > start]
    head = [place for place, word in enumerate(second) if word.start < end]
    drift = MAX_DRIFT if before.words and after.words else math.inf
    agreed = [
        (left, right)
        for left, right in _common(first, tail, second, head)
        if abs(_centre(first[left]) - _centre(second[right])) <= drift
    ]
    if agreed:
        left, right = min(agreed, key=lambda pair: abs(_centre(first[pair[0]]) - middle))
        kept, rest = first[: left + 1], second[right + 1 :]
    else:
        kept = [word for word in first if _centre(word) <= middle]
        rest = [word for word in second if _centre(word) > middle]
    texts = _text(before.text, first, 0, len(kept)), _text(after.text, second, len(second) - len(rest), len(second))
    return (
        _with_words(before, texts[0], kept, before.start, min(before.end, middle)),
        _with_words(after, texts[1], _not_before(rest, kept), max(after.start, middle), after.end),
    )


def _common(
    first: Sequence[Word], tail: Sequence[int], second: Sequence[Word], head: Sequence[int]
) -> list[tuple[int, int]]:
    """Places of the words of a longest common subsequence."""
    blocks = LCSseq.opcodes([first[place].text for place in tail], [second[place].text for place in head])
    return [
        (tail[block.src_start + step], head[block.dest_start + step])
        for block in blocks
        if block.tag == "equal"
        for step in range(block.src_end - block.src_start)
    ]


def _words(segment: Segment) -> list[Word]:
    """The words of a segment; those without times share its time."""
    if segment.words or not segment.text:
        return list(segment.words)
    texts = segment.text.split()
    step = (segment.end - segment.start) / len(texts)
    edges = [segment.start + step * place for place in range(len(texts))] + [segment.end]
    return [Word(start, end, text) for text, (start, end) in zip(texts, itertools.pairwise(edges), strict=True)]


def _text(text: str, words: Sequence[Word], first: int, stop: int) -> str:
    """The part of a text with some of its words, with what stands between them there."""
    places, reached = [], 0
    for word in words:
        found = text.find(word.text, reached)
        if found < 0:
            return " ".join(word.text for word in words[first:stop])
        reached = found + len(word.text)
        places.append((found, reached))
    return text[places[first][0] : places[stop - 1][1]] if first < stop else ""


def _with_words(segment: Segment, text: str, words: Sequence[Word], start: float, end: float) -> Segment:
    """A segment with this text and words; `start` and `end` are its times where its words had none."""
    if not segment.words:
        return replace(segment, text=text, start=start, end=end)
    if not words:
        return replace(segment, text="", words=(), confidence=None)
    confidences = [word.confidence for word in words if word.confidence is not None]
    return replace(
        segment,
        start=words[0].start,
        end=words[-1].end,
        text=text,
        words=tuple(words),
        confidence=text_confidence(confidences),
    )


def _not_before(words: list[Word], kept: Sequence[Word]) -> list[Word]:
    """The words with their times moved, where need be, to the end of what is kept before them."""
    reached = kept[-1].end if kept else 0.0
    moved = []
    for word in words:
        start = max(word.start, reached)
        moved.append(replace(word, start=start, end=max(word.end, start)))
        reached = start
    return moved


def _centre(word: Word) -> float:
    return (word.start + word.end) / 2
