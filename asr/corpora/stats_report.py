"""A corpus's numbers for people: tables, a histogram as text, and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from asr.corpora.stats import QUANTILES, CorpusStats, quantiles
from asr.errors import AsrError
from asr.system.display import counted
from asr.system.runtime import atomic_path

NUM_BINS = 12
BAR = 40  # characters of the longest bar
NUM_SPEAKERS = 10  # listed, those with most speech
NUM_CHARACTERS = 80  # shown
NUM_WORDS = 15  # listed, the most frequent


def tables(stats: CorpusStats) -> Iterator[Table]:
    """Size, distributions, durations and speakers, in reading order."""
    yield _overview(stats)
    yield _distributions(stats)
    yield _durations(stats)
    yield _speakers(stats)


def _overview(stats: CorpusStats) -> Table:
    table = _table("", "")
    lines = {
        "utterances": f"{len(stats.seconds)}",
        "hours": f"{stats.hours:.2f}",
        "speakers": _speaker_line(stats),
        "languages": _counts(dict(stats.languages.most_common())),
        "texts": f"{stats.num_texts} different, {stats.num_empty} empty (normalize {stats.normalizer})",
        "words": f"{stats.words.total()}, {len(stats.words)} different",
        "most frequent": _counts(dict(stats.words.most_common(NUM_WORDS))),
        "characters": _character_line(stats),
    }
    if stats.formats is not None:
        lines["formats"] = _counts({f"{rate} Hz x {channels}": count
                                    for (rate, channels), count in stats.formats.most_common()})  # fmt: skip
        lines["unreadable"] = "; ".join([counted(len(stats.unreadable), "file"), *stats.unreadable[:3]])
    if (unknown := stats.unknown) is not None:
        rates = f"{_percent(unknown.rate)} of the words, {_percent(unknown.type_rate)} of the different ones"
        lines["out of vocabulary"] = (
            f"{counted(unknown.counts.total(), 'word')}, {len(unknown.counts)} different: {rates}"
        )
        lines["unknown words"] = _counts(dict(unknown.counts.most_common(NUM_WORDS)))
    for name, value in lines.items():
        if value:
            table.add_row(name, Text(value))
    return table


def _speaker_line(stats: CorpusStats) -> str:
    without = f", {counted(stats.num_without_speaker, 'utterance')} without" if stats.num_without_speaker else ""
    return f"{len(stats.speaker_seconds)}{without}"


def _character_line(stats: CorpusStats) -> str:
    different = sorted(stats.characters)
    more = f" and {len(different) - NUM_CHARACTERS} more" if len(different) > NUM_CHARACTERS else ""
    return f"{stats.characters.total()}, {len(different)} different: {''.join(different[:NUM_CHARACTERS])}{more}"


def _distributions(stats: CorpusStats) -> Table:
    table = _table("", *QUANTILES, "mean")
    for name, values in stats.distributions.items():
        numbers = [*quantiles(values).values(), float(values.mean())]
        table.add_row(name.replace("_", " "), *(f"{number:.2f}" for number in numbers))
    return table


def _durations(stats: CorpusStats) -> Table:
    """A histogram whose last bin holds whatever is longer than 99 % of the utterances."""
    table = _table("seconds", "utterances", "")
    top = float(np.quantile(stats.seconds, 0.99))
    bottom = float(stats.seconds.min())
    edges = np.linspace(bottom, top, NUM_BINS) if top > bottom else np.array([bottom])
    counts = np.bincount(np.searchsorted(edges, stats.seconds, side="right") - 1, minlength=len(edges))
    for place, count in enumerate(counts):
        until = f"- {edges[place + 1]:.2f}" if place + 1 < len(edges) else "and more"
        bar = "#" * round(BAR * count / counts.max())
        table.add_row(f"{edges[place]:.2f} {until}", str(count), Text(bar))
    return table


def _speakers(stats: CorpusStats) -> Table:
    """The speakers with most speech; no rows where no speaker is named."""
    table = _table("speaker", "minutes", "%")
    for name, seconds in list(stats.speaker_seconds.items())[:NUM_SPEAKERS]:
        share = seconds / stats.seconds.sum() if stats.seconds.sum() else 0.0
        table.add_row(Text(name), f"{seconds / 60:.1f}", f"{100 * share:.1f}")
    if (rest := len(stats.speaker_seconds) - NUM_SPEAKERS) > 0:
        table.add_row(f"and {rest} more", "", "")
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for place, column in enumerate(columns):
        number = place > 0 and column != ""
        table.add_column(column, justify="right" if number else "left", no_wrap=number or place == 0, overflow="fold")
    return table


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def draw(stats: CorpusStats, folder: Path) -> list[Path]:
    """Pictures of durations, speakers, speech rate and word frequencies, as PNG; AsrError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise AsrError('plots need matplotlib; install it with: pip install "asr-toolkit[plots]"') from error
    paths = []
    for name, picture in PICTURES.items():
        figure = Figure(figsize=(6, 4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        picture(stats, axes)
        axes.grid(alpha=0.3)
        path = folder / f"{name}.png"
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=110, format="png")
        paths.append(path)
    return paths


def _draw_durations(stats: CorpusStats, axes: Any) -> None:
    axes.hist(stats.seconds, bins=50)
    axes.set(
        title=f"{counted(len(stats.seconds), 'utterance')}, {stats.hours:.2f} h", xlabel="seconds", ylabel="utterances"
    )


def _draw_speakers(stats: CorpusStats, axes: Any) -> None:
    minutes = [seconds / 60 for seconds in stats.speaker_seconds.values()]
    axes.bar(range(len(minutes)), minutes, width=1.0)
    axes.set(title=counted(len(minutes), "speaker"), xlabel="speakers, by their share", ylabel="minutes")


def _draw_rate(stats: CorpusStats, axes: Any) -> None:
    axes.plot(stats.num_characters, stats.seconds, ".", markersize=3, alpha=0.4)
    axes.set(title="speech rate", xlabel="characters", ylabel="seconds", xlim=(0, None), ylim=(0, None))


def _draw_words(stats: CorpusStats, axes: Any) -> None:
    counts = sorted(stats.words.values(), reverse=True)
    if counts:
        axes.loglog(range(1, len(counts) + 1), counts, ".", markersize=4)
    axes.set(title=f"{len(counts)} different words", xlabel="rank", ylabel="occurrences")


PICTURES: dict[str, Callable[[CorpusStats, Any], None]] = {
    "durations": _draw_durations,
    "speakers": _draw_speakers,
    "speech_rate": _draw_rate,
    "words": _draw_words,
}
