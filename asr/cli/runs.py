"""asr runs"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder that holds model folders, at any depth.", metavar="DIR")],
    sort: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Smallest first: name, model, params, epochs, dev, time, speed, started, status, or a scored set.",
        ),
    ] = "dev",
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw dev measure and training loss of all runs (PNG).")
    ] = None,
) -> None:
    """Compare training runs: how far, how good, how fast, and in which settings they differ."""
    from asr.cli.console import print_tables, terminal_width
    from asr.experiments import runs_report
    from asr.experiments.runs import find_runs
    from asr.system.outputs import check_inside

    if plot is not None:
        check_inside((plot,), folder, mine=(plot,) if plot.suffix.lower() == ".png" else ())
    found, broken = find_runs(folder)
    found = runs_report.sort_runs(found, sort)
    if json:
        typer.echo(runs_report.as_json(found, broken))
    else:
        print_tables(*runs_report.tables(found, terminal_width()))
        for one in broken:
            typer.echo(f"{one.name}: {one.problem}", err=True)
    if plot is not None:
        runs_report.plot(found, plot)
