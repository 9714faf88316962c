"""asr info"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.inputs import require_model


def info(experiment: Annotated[Path, typer.Argument(help="Model folder, or a name.", metavar="EXP")]) -> None:
    """Show what a model folder holds: data, sizes, training state, results."""
    experiment = require_model(experiment)
    from asr.experiments.summary import summarize

    for name, value in summarize(experiment):
        typer.echo(f"{name:16} {value}")
