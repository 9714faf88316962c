"""The parts of the HTML report that stand there without a script: figures, tables, and how they came about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from asr.scoring.alignment import ErrorCounts
from asr.scoring.breakdown import UNKNOWN_SPEAKER, Group, by_length, by_speaker, frequent_errors
from asr.scoring.pairing import missing_line
from asr.scoring.results import Results
from asr.scoring.wer import Score
from asr.system.display import counted, percent

TOP = 20  # errors of each kind
_LEGEND = (
    "WER: errors per reference word. CER: the same of characters. MER: errors per column of the alignments. "
    "WIL: word information lost."
)
_COUNTS = ("words", "hits", "S", "D", "I")


def summary(results: Results, parts: Mapping[str, Score], facts: Mapping[str, str]) -> str:
    """All of it as HTML, every text escaped. `parts` are rows of the first table, `facts` lines of the last."""
    score = results.score
    other = results.comparison.second if results.comparison else None
    whose = " of A" if other else ""
    sections = [_cards(score, other)]
    if results.comparison is not None:
        sections.append(f'<p class="verdict">{escape(results.comparison.verdict)}</p>')
    sections.append(_section("Overall", _overall_table(results, parts)))
    groups = [_section(f"WER{whose} by length of the reference", _group_table("words", by_length(score)))]
    if any(score.speakers):
        groups.insert(0, _section(f"WER{whose} by speaker", _group_table("speaker", by_speaker(score), "speaker")))
    sections.append(f'<div class="split">{"".join(groups)}</div>')
    sections.append(_section(f"Most frequent errors{whose}", _errors(score)))
    sections.append(_section("How the score came about", _facts(score, facts)))
    return "\n".join(sections)


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>\n"


def _cards(score: Score, other: Score | None) -> str:
    """The four figures people look for first, with those of a second system in small print."""
    words, interval = score.words, _interval(score.interval)
    wrong = int((score.utterance_errors > 0).sum())
    cards = [
        ("Word error rate", _rate(score.words.rate), f"95 % interval {interval}" if interval else "no reference words"),
        ("Character error rate", _rate(score.characters.rate), counted(score.characters.errors, "wrong character")),
        ("Sentence error rate", _rate(score.sentence_error_rate), f"{wrong} of {counted(len(score.ids), 'utterance')}"),
        (
            f"Errors in {counted(words.reference_length, 'word')}",
            str(words.errors),
            f"{words.substitutions} S, {words.deletions} D, {words.insertions} I",
        ),
    ]
    others = [""] * len(cards)
    if other is not None:
        rates = (other.words.rate, other.characters.rate, other.sentence_error_rate)
        others = [f'<p class="note">B: {text}</p>' for text in (*map(_rate, rates), str(other.words.errors))]
    made = (
        f'<div class="card"><h3>{name}{" of A" if more else ""}</h3><p class="figure">{figure}</p>'
        f'<p class="note">{note}</p>{more}</div>'
        for (name, figure, note), more in zip(cards, others, strict=True)
    )
    return f'<div class="cards">{"".join(made)}</div>'


def _overall_table(results: Results, parts: Mapping[str, Score]) -> str:
    score, comparison = results.score, results.comparison
    rows = []

    def add(name: str, rate: float | None, interval: tuple[float, float] | None, counts: ErrorCounts | None) -> None:
        cells = _cells(counts) if counts else [""] * len(_COUNTS)
        rows.append([escape(name), percent(rate), _interval(interval), *cells])

    systems = {"": score} if comparison is None else {" of A": score, " of B": comparison.second}
    for name, system in systems.items():
        add(f"WER{name}", system.words.rate, system.interval, system.words)
        if system.speaker_interval:
            add(f"WER{name}, interval drawn by speaker", system.words.rate, system.speaker_interval, None)
    if comparison is not None and comparison.bootstrap is not None:
        add("A minus B", comparison.bootstrap.difference, comparison.bootstrap.interval, None)
    for name, part in parts.items():
        add(f"WER, {name} ({counted(len(part.ids), 'utterance')})", part.words.rate, part.interval, part.words)
    for name, system in systems.items():
        add(f"CER{name}", system.characters.rate, None, system.characters)
        add(f"MER{name}", system.words.match_error_rate, None, None)
        add(f"WIL{name}", system.words.word_information_lost, None, None)
    return _table(["", "%", "95 % interval", *_COUNTS], rows) + f'<p class="note">{_LEGEND}</p>'


def _group_table(name: str, groups: Iterable[Group], filtered_by: str | None = None) -> str:
    rows = []
    for group in groups:
        words, _, *errors = _cells(group.counts)
        title = f"<bdi>{escape(group.name)}</bdi>"
        if filtered_by and group.name != UNKNOWN_SPEAKER:
            title = _button(filtered_by, group.name, title)
        rows.append([title, str(group.utterances), percent(group.counts.rate), words, *errors])
    return _table([name, "utterances", "WER %", "words", "S", "D", "I"], rows, long=True)


def _errors(score: Score) -> str:
    errors = frequent_errors(score, TOP)
    lists = {
        "Substitutions": [
            (
                f"S {reference} {hypothesis}",
                f"<bdi>{escape(reference)}</bdi> \u2192 <bdi>{escape(hypothesis)}</bdi>",
                times,
            )
            for (reference, hypothesis), times in errors.substitutions
        ],
        "Deletions": [(f"D {word}", f"<bdi>{escape(word)}</bdi>", times) for word, times in errors.deletions],
        "Insertions": [(f"I {word}", f"<bdi>{escape(word)}</bdi>", times) for word, times in errors.insertions],
    }
    tables = (
        _table([name, "times"], [[_button("error", key, shown), str(times)] for key, shown, times in rows], long=True)
        if rows
        else f'<p class="note">No {name.lower()}.</p>'
        for name, rows in lists.items()
    )
    return f'<div class="thirds">{"".join(f"<div>{table}</div>" for table in tables)}</div>'


def _facts(score: Score, facts: Mapping[str, str]) -> str:
    lines = {**facts, "Normaliser": score.rules.normalize, "Alignment": score.rules.align}
    if not score.rules.is_plain:
        lines["Rules"] = score.rules.describe()
    if score.missing:
        lines["Missing"] = missing_line(score.missing)
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in lines.items())}</dl>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, long: bool = False) -> str:
    """Header as text, cells as HTML; the first cell of a row names it. A long table scrolls, and can be sorted."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>\n'
        for first, *rest in rows
    )
    start = '<div class="scroll" tabindex="0"><table class="sortable">' if long else '<div class="wide"><table>'
    return f"{start}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"


def _button(name: str, value: str, shown: str) -> str:
    """It filters the list of utterances."""
    return f'<button type="button" data-{name}="{escape(value)}">{shown}</button>'


def _cells(counts: ErrorCounts) -> list[str]:
    return [
        *map(str, (counts.reference_length, counts.hits, counts.substitutions, counts.deletions, counts.insertions))
    ]


def _rate(rate: float | None) -> str:
    return "n/a" if rate is None else f"{percent(rate)} %"


def _interval(interval: tuple[float, float] | None) -> str:
    return f"{percent(interval[0])} to {percent(interval[1])}" if interval else ""
