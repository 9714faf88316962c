"""Many pairs of texts compared at once: packed texts in, operations and counts out.

Plain Levenshtein alignments of thousands of pairs go to a compiled kernel where numba is installed, in a tenth of the
time; everything else is done pair by pair. The answers are the same.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asr.errors import ScoringError
from asr.scoring.alignment import levenshtein
from asr.scoring.packed import pack_lines
from asr.scoring.rules import Rules
from asr.system.threads import off_main_thread
from asr.text.normalize import normalize

WORTH_COMPILING = 8192  # pairs for which loading numba pays
_LINE_END = b"\n"
_KINDS = np.zeros(256, dtype=np.int64)  # of the letters of operations: the columns of counts
_KINDS[[*b"SDI"]] = 1, 2, 3


class ComparedTexts(NamedTuple):
    """Lines of UTF-8, and for each pair of them hits, substitutions, deletions and insertions (pairs, 4)."""

    references: bytes
    hypotheses: bytes
    operations: bytes
    counts: npt.NDArray[np.int64]


def compare_texts(
    references: Sequence[str], hypotheses: Sequence[str], rules: Rules, names: Sequence[str]
) -> ComparedTexts:
    """Compare texts pair by pair under the rules; `names` are their ids, for errors.

    TextError on an unknown normaliser, ScoringError on marks that cannot be read.
    """
    is_simple = rules.align == "levenshtein" and rules.is_plain
    if is_simple and len(references) >= WORTH_COMPILING and importlib.util.find_spec("numba") is not None:
        if rules.normalize == "none" and (found := _align_compiled(references, hypotheses)) is not None:
            return found  # texts that need no normalising, which the kernel finds out in passing
        sides = ([normalize(text, rules.normalize) for text in texts] for texts in (references, hypotheses))
        if (found := _align_compiled(*sides)) is not None:
            return found
    compared = [_compare(*row, rules) for row in zip(names, references, hypotheses, strict=True)]
    lines = (pack_lines(texts) for texts in zip(*compared, strict=True))
    source, target, operations = lines if compared else (b"", b"", b"")
    return ComparedTexts(source, target, operations, _count(operations, len(compared)))


def _compare(name: str, reference: str, hypothesis: str, rules: Rules) -> tuple[str, str, str]:
    try:
        return rules.compare(reference, hypothesis)
    except ScoringError as error:
        raise ScoringError(f"utterance {name}: {error}") from error


def _align_compiled(references: Sequence[str], hypotheses: Sequence[str]) -> ComparedTexts | None:
    """None if there is white space in the texts other than single spaces between words."""
    from asr.scoring.kernel import align_lines, scratch

    source, target = pack_lines(references), pack_lines(hypotheses)
    if not source.isascii() or not target.isascii():  # the kernel knows no other white space
        joined = (" ".join(text.split()) for text in (*references, *hypotheses))
        if any(text != tidy for text, tidy in zip((*references, *hypotheses), joined, strict=True)):
            return None
    if source.count(_LINE_END) != len(references) or target.count(_LINE_END) != len(hypotheses):
        return None
    operations = np.empty(len(source) + len(target) + len(references), dtype=np.uint8)
    counts = np.zeros((len(references), 4), dtype=np.int64)
    sides = [np.frombuffer(lines, dtype=np.uint8) for lines in (source, target)]
    written = off_main_thread(align_lines, sides[0], sides[1], operations, counts, *scratch())
    if written < 0:
        return None
    lines = operations[:written].tobytes()
    if len(too_long := np.flatnonzero(counts[:, 0] < 0)):
        letters = lines.split(_LINE_END)
        for row in too_long.tolist():
            letters[row] = levenshtein(references[row].split(), hypotheses[row].split()).encode()
            counts[row] = _count(letters[row] + _LINE_END, 1)
        lines = _LINE_END.join(letters)
    return ComparedTexts(source, target, lines, counts)


def _count(operations: bytes, num_pairs: int) -> npt.NDArray[np.int64]:
    """The letters of each line, by kind."""
    letters = np.frombuffer(operations, dtype=np.uint8)
    is_letter = letters != _LINE_END[0]
    cells = (4 * np.cumsum(~is_letter) + _KINDS[letters])[is_letter]
    return np.bincount(cells, minlength=4 * num_pairs).reshape(num_pairs, 4)
