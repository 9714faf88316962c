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
        self._held: tuple[Span, Segment] | None = None

    def add(self, span: Span, segment: Segment | None) -> Iterator[Segment]:
        """The segments that are complete now that this span has been recognised."""
        if self._held is not None:
            earlier, before = self._held
            if segment is not None and span.start < earlier.end:
                before, segment = hand_over(before, segment, span.start, earlier.end)
            self._held = None
            if before.text:
                yield before
        if segment is None or not segment.text:
            return
        if span.continues:
            self._held = span, segment
        else:
            yield segment

    def finish(self) -> Iterator[Segment]:
        """What is held back, at the end of a recording."""
        if self._held is not None:
            yield self._held[1]
            self._held = None


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
    return (
        _with_words(before, kept, before.start, min(before.end, middle)),
        _with_words(after, _not_before(rest, kept), max(after.start, middle), after.end),
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


def _with_words(segment: Segment, words: Sequence[Word], start: float, end: float) -> Segment:
    """A segment with these words; `start` and `end` are its times where its words had none."""
    is_spaceless = bool(segment.words) and segment.text == "".join(word.text for word in segment.words)
    between = "" if is_spaceless else " "  # of the words of its script
    text = between.join(word.text for word in words)
    if not segment.words:
        return replace(segment, text=text, start=start, end=end)
    if not words:
        return replace(segment, text="", words=(), confidence=None)
    confidences = [word.confidence for word in words if word.confidence is not None]
    return Segment(words[0].start, words[-1].end, text, tuple(words), text_confidence(confidences), segment.channel)


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
