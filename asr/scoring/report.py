"""Scores for people: tables, sentences, and an utterance's reference above its hypothesis, as sclite prints it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from asr.scoring.alignment import HIT, LEFT_OUT, AlignedPair, ErrorCounts
from asr.scoring.breakdown import FrequentErrors, Group
from asr.scoring.compare import Comparison
from asr.scoring.pairing import missing_line
from asr.scoring.results import Results
from asr.scoring.wer import Score
from asr.system.display import counted, percent
from asr.system.runtime import atomic_path
from asr.text.normalize import CER_NORMALIZER

_COUNTS = ("reference", "hits", "sub", "del", "ins")


def print_results(results: Results, console: Console, *, cer: bool = False) -> None:
    """Tables with lines and colours in a terminal, plain columns elsewhere."""
    plain = not console.is_terminal
    score = results.score
    if results.comparison is None:
        console.print(score_table(score, cer=cer, plain=plain))
    else:
        console.print(comparison_table(results.comparison, cer=cer, plain=plain))
        console.print(results.comparison.verdict)
    for line in summary_lines(score, cer=cer):
        console.print(line)
    for name, groups in results.groups.items():
        console.print()
        console.print(group_table(name, groups, plain=plain))
    if results.frequent_errors is not None:
        console.print()
        console.print(frequent_errors_table(results.frequent_errors, plain=plain))


def score_table(score: Score, *, cer: bool = False, plain: bool = True) -> Table:
    """One row for words, one for characters if asked for; rates in percent."""
    table = _table(("", "errors %", "95 % interval", *_COUNTS), plain)
    table.add_row("WER", percent(score.words.rate), _interval(score.interval), *_cells(score.words))
    if score.speaker_interval:
        table.add_row("drawn by speaker", "", _interval(score.speaker_interval))
    if cer:
        table.add_row("CER", percent(score.characters.rate), "", *_cells(score.characters))
    return table


def comparison_table(comparison: Comparison, *, cer: bool = False, plain: bool = True) -> Table:
    """The rows of both systems and the difference between them."""
    table = _table(("", "errors %", "95 % interval", *_COUNTS), plain)
    systems = {"A (HYP)": comparison.first, "B (HYP2)": comparison.second}
    for name, score in systems.items():
        table.add_row(f"WER {name}", percent(score.words.rate), _interval(score.interval), *_cells(score.words))
    for name, test in (("A - B", comparison.bootstrap), ("drawn by speaker", comparison.speaker_bootstrap)):
        if test is not None:
            table.add_row(name, percent(test.difference), _interval(test.interval))
    for name, score in systems.items() if cer else ():
        table.add_row(f"CER {name}", percent(score.characters.rate), "", *_cells(score.characters))
    return table


def summary_lines(score: Score, *, cer: bool = False) -> Iterator[str]:
    """What the table leaves out, and how the score came about."""
    words = score.words
    rates = f"MER {percent(words.match_error_rate)} %, WIL {percent(words.word_information_lost)} %"
    yield f"{rates}, {percent(score.sentence_error_rate)} % of {counted(len(score.ids), 'utterance')} with errors"
    if score.missing:
        yield missing_line(score.missing)
    yield score.rules.describe() + (f", CER normalize {CER_NORMALIZER}" if cer else "")


def group_table(name: str, groups: Iterable[Group], *, plain: bool = True) -> Table:
    """A row for each group."""
    table = _table((name, "utterances", "with errors", "WER %", *_COUNTS), plain)
    table.columns[0].justify = "left"
    for row in groups:
        rates = (str(row.utterances), str(row.sentence_errors), percent(row.counts.rate))
        table.add_row(row.name, *rates, *_cells(row.counts))
    return table


def frequent_errors_table(errors: FrequentErrors, *, plain: bool = True) -> Table:
    """The three lists side by side."""
    table = _table(("times", "substituted", "times", "deleted", "times", "inserted"), plain)
    for column in table.columns[1::2]:
        column.justify = "left"
    lists = (
        [(f"{reference} > {hypothesis}", times) for (reference, hypothesis), times in errors.substitutions],
        errors.deletions,
        errors.insertions,
    )
    for row in range(max(map(len, lists))):
        cells = [(str(entries[row][1]), entries[row][0]) if row < len(entries) else ("", "") for entries in lists]
        table.add_row(*(text for cell in cells for text in cell))
    return table


def write_alignments(score: Score, path: Path, console: Console) -> None:
    """Write `alignment_text` to a file, or print it if the path is "-"."""
    if str(path) == "-":
        for text in alignment_text(score):
            console.out(text, end="")
        return
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(alignment_text(score))


def alignment_text(score: Score) -> Iterator[str]:
    """Every utterance as sclite prints it, each with a blank line after it."""
    rows = zip(score.ids, score.speakers, score.utterance_counts.tolist(), score.alignments(), strict=True)
    for name, speaker, counts, pairs in rows:
        reference, hypothesis, marks = alignment_rows(pairs)
        said_by = f"Speaker: {speaker}\n" if speaker else ""
        scores = " ".join(map(str, counts))
        lines = f"REF:  {reference}".rstrip(), f"HYP:  {hypothesis}".rstrip(), f"Eval: {marks}".rstrip()
        yield f"id: ({name})\n{said_by}Scores: (#C #S #D #I) {scores}\n" + "\n".join(lines) + "\n\n"


def alignment_rows(pairs: Sequence[AlignedPair]) -> tuple[str, str, str]:
    """Reference, hypothesis and a mark (S, D, I) below each error, in columns of a fixed-width font.

    Stars stand for the missing word; a word that may be left out and was has parentheses and nothing below it.
    """
    columns = []
    for pair in pairs:
        if pair.operation == LEFT_OUT:
            cells = (f"({pair.reference})", "", "")
        else:
            width = max(cell_len(word) for word in (pair.reference, pair.hypothesis) if word is not None)
            stars = "*" * width
            mark = "" if pair.operation == HIT else pair.operation
            cells = (pair.reference or stars, pair.hypothesis or stars, mark)
        width = max(map(cell_len, cells))
        columns.append([cell + " " * (width - cell_len(cell)) for cell in cells])
    reference, hypothesis, marks = (" ".join(column[row] for column in columns).rstrip() for row in range(3))
    return reference, hypothesis, marks


def _table(header: Sequence[str], plain: bool) -> Table:
    """Columns aligned to the right; without lines and colours if `plain`."""
    table = Table(box=None if plain else box.HEAVY_HEAD, caption_justify="left", pad_edge=not plain)
    for column in header:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _cells(counts: ErrorCounts) -> list[str]:
    numbers = (counts.reference_length, counts.hits, counts.substitutions, counts.deletions, counts.insertions)
    return [*map(str, numbers)]


def _interval(interval: tuple[float, float] | None) -> str:
    return f"{100 * interval[0]:.2f} - {100 * interval[1]:.2f}" if interval else ""
