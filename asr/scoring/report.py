"""Scores for people: a table, and an utterance's reference above its hypothesis."""

from __future__ import annotations

from rich.cells import cell_len
from rich.table import Table

from asr.scoring.alignment import HIT, AlignedPair, ErrorCounts
from asr.scoring.wer import Score

_NOTHING = "***"  # stands opposite an insertion or deletion


def score_table(score: Score, *, cer: bool = False) -> Table:
    """One row for words, one for characters if asked for; rates in percent, the settings in the caption."""
    table = Table(caption=f"{len(score.ids)} utterances, normalize {score.rules.normalize}, align {score.rules.align}")
    for column in ("", "errors %", "95 % interval", "reference", "hits", "sub", "del", "ins"):
        table.add_column(column, justify="right", no_wrap=True)
    interval = f"{100 * score.interval[0]:.2f} - {100 * score.interval[1]:.2f}" if score.interval else ""
    table.add_row("WER", *_cells(score.words, interval))
    if cer:
        table.add_row("CER", *_cells(score.characters, ""))
    return table


def alignment_rows(pairs: list[AlignedPair]) -> tuple[str, str, str]:
    """Reference, hypothesis and a mark (S, D, I) below each error, in columns of a fixed-width font."""
    columns = []
    for pair in pairs:
        cells = (pair.reference or _NOTHING, pair.hypothesis or _NOTHING, _mark(pair))
        width = max(map(cell_len, cells))
        columns.append([cell + " " * (width - cell_len(cell)) for cell in cells])
    reference, hypothesis, marks = (" ".join(column[row] for column in columns).rstrip() for row in range(3))
    return reference, hypothesis, marks


def _mark(pair: AlignedPair) -> str:
    return "" if pair.operation == HIT else pair.operation


def _cells(counts: ErrorCounts, interval: str) -> list[str]:
    rate = "n/a" if counts.rate is None else f"{100 * counts.rate:.2f}"
    numbers = (counts.reference_length, counts.hits, counts.substitutions, counts.deletions, counts.insertions)
    return [rate, interval, *map(str, numbers)]
