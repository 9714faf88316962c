"""Training runs side by side: tables and JSON, and one picture of their curves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from asr.errors import TrainingError
from asr.experiments.runs import Broken, Result, Run, differing_settings
from asr.system.display import clock
from asr.system.runtime import atomic_path

ENVIRONMENT = "environment."  # how settings begin that come from where a run took place
MAX_ENVIRONMENT = 3  # of these are shown one by one
MAX_NAMED = 6
DISPENSABLE = ("started", "audio-s/s", "tokens/s", "params", "time", "model")  # columns of the overview, first to last

SORT_KEYS: dict[str, Callable[[Run], Any]] = {
    "name": lambda run: run.name,
    "model": lambda run: run.model,
    "params": lambda run: run.parameters,
    "epochs": lambda run: run.epochs,
    "dev": lambda run: run.best,
    "time": lambda run: run.seconds,
    "speed": lambda run: run.rate[0] if run.rate else None,
    "started": lambda run: run.started,
    "status": lambda run: run.status,
}


def sort_runs(runs: Sequence[Run], column: str) -> list[Run]:
    """Smallest first by one of SORT_KEYS or by the error rate on a set; runs without a value come last.

    TrainingError lists the columns there are.
    """
    sets = _sets(runs)
    if column not in SORT_KEYS and column not in sets:
        raise TrainingError(f"cannot sort by '{column}'; there are {', '.join([*SORT_KEYS, *sets])}")

    def value(run: Run) -> Any:
        if column in SORT_KEYS:
            return SORT_KEYS[column](run)
        return run.results[column].wer if column in run.results else None

    known = [run for run in runs if value(run) is not None]
    return sorted(known, key=value) + [run for run in runs if value(run) is None]


def tables(runs: Sequence[Run], width: int | None = None) -> Iterator[Table]:
    """Of acoustic and of language models: a table of the runs, and one of the settings in which they differ.

    Where the names of runs make the second wider than `width` columns, the runs are numbered in both.
    """
    for title, family in _families(runs):
        differing = differing_settings(family)
        differences = _differences([run.name for run in family], differing)
        is_numbered = width is not None and bool(differing) and _width(differences) > width
        if is_numbered:
            differences = _differences([str(number) for number in range(1, len(family) + 1)], differing)
        yield _overview(title, family, is_numbered, width)
        if differing:
            yield differences


def _width(table: Table) -> int:
    """Columns that a table takes where nothing is broken into lines."""
    console = Console(width=1_000_000)
    return console.measure(table).maximum


def as_json(runs: Sequence[Run], broken: Sequence[Broken]) -> str:
    """All of it for programs: rates as fractions, times in seconds, `differs` with the settings unlike others'."""
    rows = []
    for _, family in _families(runs):
        differing = differing_settings(family)
        for number, run in enumerate(family):
            row = asdict(run)
            row |= {"metric": run.metric.key, "differs": {key: values[number] for key, values in differing.items()}}
            row["rate"] = {f"{run.rate[1]}_per_second": run.rate[0]} if run.rate else None
            rows.append({key: value for key, value in row.items() if key not in ("settings", "curve")})
    return json.dumps({"runs": rows, "broken": [asdict(one) for one in broken]}, indent=1)


def plot(runs: Sequence[Run], picture: Path) -> None:
    """Dev metric and training loss over epochs, all runs of a family in one axis each, as a PNG file.

    TrainingError where matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TrainingError("matplotlib is not installed; pip install 'asr-toolkit[plots]'") from error
    families = _families(runs)
    figure = Figure(figsize=(11, 4.5 * len(families)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(families), 2, squeeze=False)
    for (title, family), (dev, loss) in zip(families, grid, strict=True):
        metric = family[0].metric
        _draw(dev, family, metric.key, metric.scale)
        _draw(loss, family, "loss", 1.0)
        dev.set(title=f"{title}: dev {metric.name}{metric.unit}", xlabel="epoch")
        loss.set(title=f"{title}: training loss", xlabel="epoch")
        if dev.lines:
            dev.legend(fontsize="small")
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _families(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """Acoustic and language models apart, since their measures do not compare; those there are."""
    acoustic = [run for run in runs if not run.is_language_model]
    language = [run for run in runs if run.is_language_model]
    return [(title, family) for title, family in (("models", acoustic), ("language models", language)) if family]


def _draw(axes: Any, runs: Sequence[Run], key: str, scale: float) -> None:
    for run in runs:
        points = [(record["epoch"], scale * record[key]) for record in run.curve if record.get(key) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker="." if len(points) < 40 else "", label=run.name)
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)


def _overview(title: str, runs: Sequence[Run], is_numbered: bool, width: int | None) -> Table:
    """What there is to know of every run; on a narrow terminal the least important columns are left out."""
    columns = _columns(runs, is_numbered)
    for dispensable in ("", *DISPENSABLE):
        columns.pop(dispensable, None)
        table = Table(title=title, title_justify="left", box=None)
        for heading in columns:
            is_text = heading in ("name", "model", "started", "status")
            table.add_column(
                heading, justify="left" if is_text else "right", no_wrap=heading == "name", overflow="fold"
            )
        for row in zip(*columns.values(), strict=True):
            table.add_row(*row)
        if width is None or _width(table) <= width:
            break
    return table


def _columns(runs: Sequence[Run], is_numbered: bool) -> dict[str, list[str]]:
    """The cells of the overview by heading."""
    metric = runs[0].metric
    columns = {"#": [str(number) for number in range(1, len(runs) + 1)]} if is_numbered else {}
    columns |= {
        "name": [run.name for run in runs],
        "model": [run.model for run in runs],
        "params": [f"{run.parameters / 1e6:.2f} M" for run in runs],
        "epochs": [f"{'-' if run.epochs is None else run.epochs}/{run.planned_epochs}" for run in runs],
        f"dev {metric.name}{metric.unit}": [
            "-" if run.best is None else f"{metric.scale * run.best:.2f}" for run in runs
        ],
    }
    columns |= {f"{name} WER %": [_rate(run.results.get(name)) for run in runs] for name in _sets(runs)}
    unit = next((run.rate[1].replace("audio_seconds", "audio-s") for run in runs if run.rate), "audio-s")
    return columns | {
        "time": ["-" if run.seconds is None else clock(run.seconds) for run in runs],
        f"{unit}/s": ["-" if run.rate is None else f"{run.rate[0]:.0f}" for run in runs],
        "started": ["-" if run.started is None else run.started.removesuffix("Z").replace("T", " ") for run in runs],
        "status": [run.status for run in runs],
    }


def _differences(names: Sequence[str], differing: Mapping[str, Sequence[Any]]) -> Table:
    """Settings in rows and runs in columns, or the other way round where that is narrower."""
    table = Table(title="what differs", title_justify="left", caption_justify="left", box=None)
    differing, table.caption = _with_short_environment(differing)
    if len(names) <= len(differing):
        for heading in ("setting", *names):
            table.add_column(heading, no_wrap=True, overflow="fold")
        for key, values in differing.items():
            table.add_row(key, *map(_shown, values))
    else:
        for heading in ("name", *differing):
            table.add_column(heading, no_wrap=heading == "name", overflow="fold")
        for number, name in enumerate(names):
            table.add_row(name, *(_shown(values[number]) for values in differing.values()))
    return table


def _with_short_environment(
    differing: Mapping[str, Sequence[Any]],
) -> tuple[Mapping[str, Sequence[Any]], str | None]:
    """The settings, environments that differ in much being numbers, and a line about what these differ in."""
    entries = [key for key in differing if key.startswith(ENVIRONMENT)]
    if len(entries) <= MAX_ENVIRONMENT:
        return differing, None
    seen: dict[tuple[str, ...], str] = {}
    numbers = [
        seen.setdefault(tuple(map(str, values)), str(len(seen) + 1))
        for values in zip(*(differing[key] for key in entries), strict=True)
    ]
    settings = {key: values for key, values in differing.items() if key not in entries}
    names = [key.removeprefix(ENVIRONMENT) for key in entries]
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    note = f"environments differ in {', '.join(names[:MAX_NAMED])}{more}; --json has the values"
    return {**settings, "environment": numbers}, note


def _sets(runs: Sequence[Run]) -> list[str]:
    """The sets that any of the runs was scored on."""
    return sorted({name for run in runs for name in run.results})


def _rate(result: Result | None) -> str:
    """`3.36 (1.90-5.07)`"""
    if result is None or result.wer is None:
        return "-"
    interval = f" ({100 * result.ci95[0]:.2f}-{100 * result.ci95[1]:.2f})" if result.ci95 else ""
    return f"{100 * result.wer:.2f}{interval}"


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)
