"""Times of the words of hypotheses, from files that have them.

`ctm` does by nature: "file channel start duration word [confidence]". A line of `jsonl` may have the words of its text
in "words", or in the "words" of each of its "segments", as transcripts of this toolkit in JSON do: objects with
"start", "end" (seconds), "text" and, if known, "confidence". Times count from the start of the utterance.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from typing import Any

from asr.errors import ScoringError
from asr.scoring.texts import TextFile, channel_id
from asr.types import Word


def read_word_times(file: TextFile, ids: Collection[str]) -> dict[str, tuple[Word, ...]]:
    """The words, in order of time, of those of the utterances `ids` that have times in a file which was scored.

    ScoringError, with path and line, on words that cannot be read.
    """
    rows = {"ctm": _ctm_words, "jsonl": _jsonl_words}.get(file.format)
    words: dict[str, list[Word]] = {}
    for name, word in rows(file, set(ids)) if rows else ():
        words.setdefault(name, []).append(word)
    return {name: tuple(sorted(found, key=lambda word: word.start)) for name, found in words.items()}


def _ctm_words(file: TextFile, ids: set[str]) -> Iterator[tuple[str, Word]]:
    for where, line in file.lines():
        fields = line.split()
        if line.startswith(";;") or channel_id(*fields[:2]) not in ids:
            continue
        start, duration, text, *rest = fields[2:]
        try:
            word = _word(
                float(start), float(start) + float(duration), text, rest[0] if rest and rest[0] != "NA" else None
            )
        except ValueError as error:
            raise ScoringError(f"{where}: the confidence '{rest[0]}' is not a number") from error
        yield channel_id(*fields[:2]), word


def _jsonl_words(file: TextFile, ids: set[str]) -> Iterator[tuple[str, Word]]:
    for where, line in file.lines():
        row = json.loads(line)
        if row["id"] not in ids:
            continue
        try:
            parts = [row, *(row.get("segments") or ())]
            for word in (word for part in parts for word in part.get("words") or ()):
                yield row["id"], _word(word["start"], word["end"], word["text"], word.get("confidence"))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ScoringError(
                f'{where}: each of the "words" needs "start" and "end", numbers of seconds, and a "text"'
            ) from error


def _word(start: Any, end: Any, text: Any, confidence: Any) -> Word:
    """TypeError or ValueError unless text is a text, and the others are finite numbers."""
    if not isinstance(text, str):
        raise TypeError
    numbers = [float(value) for value in (start, end, 0.0 if confidence is None else confidence)]
    if not all(map(math.isfinite, numbers)):
        raise ValueError
    return Word(numbers[0], numbers[1], text, None if confidence is None else numbers[2])
