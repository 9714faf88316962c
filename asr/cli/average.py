"""asr average"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.inputs import require_model


def average(
    experiment: Annotated[Path, typer.Argument(help="Model folder that still has its training part.", metavar="EXP")],
    out: Annotated[Path, typer.Option(help="Model folder to make.")],
    best: Annotated[int | None, typer.Option(min=1, help="The K epochs with the lowest dev WER.", metavar="K")] = None,
    last: Annotated[int | None, typer.Option(min=1, help="The last K epochs.", metavar="K")] = None,
    weights: Annotated[
        str, typer.Option(help="How they are stored: float32, or bfloat16 for a file half as large.")
    ] = "float32",
) -> None:
    """Average the weights of several epochs into a new model."""
    if (best is None) == (last is None):
        raise typer.BadParameter("give either --best K or --last K")
    experiment = require_model(experiment)
    from asr.experiments.average import average_epochs
    from asr.system.outputs import check_folder
    from asr.system.runtime import resolve_dtype

    check_folder(out)
    epochs = average_epochs(experiment, out, best=best, last=last, dtype=resolve_dtype(weights))
    typer.echo(f"averaged epochs {', '.join(map(str, epochs))} into {out}")
