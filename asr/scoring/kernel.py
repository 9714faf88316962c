"""Levenshtein alignment of many texts at once as machine code, with the very operations that rapidfuzz picks.

rapidfuzz takes off equal words at both ends and then walks back from the end of both texts: it deletes wherever that
is among the cheapest, inserts where that is cheaper than any pair, and pairs words otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from asr.system.jit import compiled

MOST_WORDS = 64  # of one text, a bit each

_SPACE, _LINE_END = 32, 10
_HIT, _SUBSTITUTION, _DELETION, _INSERTION = 61, 83, 68, 73  # = S D I


def scratch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Room for `align_lines`: where each word starts and ends, the last 8 bytes of each word, `_fill_steps`."""
    words, tails = np.empty((2, MOST_WORDS, 2), np.int64), np.empty((2, MOST_WORDS), np.uint64)
    return words, tails, np.empty((MOST_WORDS, 2), np.uint64)


@compiled
def align_lines(source: Any, target: Any, operations: Any, counts: Any, words: Any, tails: Any, steps: Any) -> Any:
    """Align the lines of two UTF-8 texts (uint8, each line with its end), words with single spaces between them.

    Fills `operations` with a line of letters for each pair and `counts` (lines, 4) with its hits, substitutions,
    deletions and insertions; returns the bytes written, or -1 if it meets other ASCII white space. A pair with more
    than MOST_WORDS words on a side gets an empty line and -1 hits. `scratch` gives the others.
    """
    place = other_place = written = 0
    for row in range(len(counts)):
        length, place = _read_words(source, place, words[0], tails[0])
        other_length, other_place = _read_words(target, other_place, words[1], tails[1])
        if length < 0 or other_length < 0:
            return -1
        if length > MOST_WORDS or other_length > MOST_WORDS:
            counts[row, 0] = -1
        else:
            start = written
            written = _align(source, target, words, tails, length, other_length, steps, operations, written)
            hits = substitutions = deletions = 0
            for at in range(start, written):
                hits += operations[at] == _HIT
                substitutions += operations[at] == _SUBSTITUTION
                deletions += operations[at] == _DELETION
            counts[row, 0], counts[row, 1], counts[row, 2] = hits, substitutions, deletions
            counts[row, 3] = written - start - hits - substitutions - deletions
        operations[written] = _LINE_END
        written += 1
    return written


@compiled
def _read_words(text: Any, place: Any, words: Any, tails: Any) -> Any:
    """Split the line that begins at `place`; returns how many words it has and where the next line begins.

    -1 words if there is white space other than single spaces between words.
    """
    length = 0
    start = place
    tail = np.uint64(0)
    while True:
        byte = text[place]
        if byte > _SPACE:
            tail = (tail << np.uint64(8)) | np.uint64(byte)
            place += 1
            continue
        if byte == _LINE_END and place == start and length == 0:
            return 0, place + 1
        if place == start or byte not in (_SPACE, _LINE_END):
            return -1, place
        if length < MOST_WORDS:
            words[length, 0], words[length, 1] = start, place
            tails[length] = tail
        length += 1
        place += 1
        if byte == _LINE_END:
            return length, place
        start = place
        tail = np.uint64(0)


@compiled
def _same(source: Any, target: Any, words: Any, tails: Any, row: Any, column: Any) -> Any:
    """Whether a word of the source is that of the target, to the last byte."""
    if tails[0, row] != tails[1, column]:
        return False
    start, other_start = words[0, row, 0], words[1, column, 0]
    size = words[0, row, 1] - start
    if words[1, column, 1] - other_start != size:
        return False
    different = 0
    for at in range(size - 8):  # the others are those of the tails
        different += source[start + at] != target[other_start + at]
    return different == 0


@compiled
def _fill_steps(
    source: Any, target: Any, words: Any, tails: Any, head: Any, rows: Any, columns: Any, steps: Any
) -> Any:
    """Bit r of steps[c, 0] or steps[c, 1]: whether the distance grows or falls from r to r + 1 words of the source.

    The target has c + 1 words there. Both texts begin at word `head`. Hyyro 2003, "A bit-vector algorithm for computing
    Levenshtein and Damerau edit distances".
    """
    one, grows, falls = np.uint64(1), ~np.uint64(0), np.uint64(0)
    source_tails = tails[0, head : head + rows]
    for column in range(columns):
        same = np.uint64(0)
        tail = tails[1, head + column]
        for row in range(rows):
            if source_tails[row] == tail and _same(source, target, words, tails, head + row, head + column):
                same |= one << np.uint64(row)
        diagonal = (((same & grows) + grows) ^ grows) | same | falls
        right_grows = ((falls | ~(diagonal | grows)) << one) | one
        right_falls = (diagonal & grows) << one
        grows = right_falls | ~(diagonal | right_grows)
        falls = right_grows & diagonal
        steps[column, 0], steps[column, 1] = grows, falls


@compiled
def _align(
    source: Any,
    target: Any,
    words: Any,
    tails: Any,
    rows: Any,
    columns: Any,
    steps: Any,
    operations: Any,
    written: Any,
) -> Any:
    """Write the operations of one pair of lines from `written` on; returns where they end."""
    head = tail = 0
    while head < rows and head < columns and _same(source, target, words, tails, head, head):
        head += 1
    while tail < rows - head and tail < columns - head:
        if not _same(source, target, words, tails, rows - 1 - tail, columns - 1 - tail):
            break
        tail += 1
    rows, columns = rows - head - tail, columns - head - tail
    _fill_steps(source, target, words, tails, head, rows, columns, steps)
    for at in range(written, written + head):
        operations[at] = _HIT
    written += head
    first = written
    row, column = rows, columns
    one = np.uint64(1)
    while row > 0 or column > 0:  # backwards; turned round below
        bit = np.uint64(row - 1)
        if column == 0 or (row > 0 and (steps[column - 1, 0] >> bit) & one):
            letter, row = _DELETION, row - 1
        elif row == 0 or (column > 1 and (steps[column - 2, 1] >> bit) & one):
            letter, column = _INSERTION, column - 1
        else:
            row, column = row - 1, column - 1
            letter = _HIT if _same(source, target, words, tails, head + row, head + column) else _SUBSTITUTION
        operations[written] = letter
        written += 1
    for at in range((written - first) // 2):
        letter = operations[first + at]
        operations[first + at] = operations[written - 1 - at]
        operations[written - 1 - at] = letter
    for at in range(written, written + tail):
        operations[at] = _HIT
    return written + tail
