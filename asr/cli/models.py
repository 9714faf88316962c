"""asr models: pretrained models of other toolkits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.examples import epilog

app = typer.Typer(help="Pretrained models of other toolkits.", no_args_is_help=True)


@app.command("import", epilog=epilog("models import"))
def import_(
    path: Annotated[Path, typer.Argument(help="Folder or file of another toolkit's model.", metavar="PATH")],
    out: Annotated[Path, typer.Option(help="Model folder to make.")],
) -> None:
    """Read a pretrained model into a model folder that all commands work on."""
    from asr.bundle.foreign import import_model
    from asr.system.outputs import check_folder

    check_folder(out)
    model = import_model(path, out)
    typer.echo(f"imported {model.num_parameters / 1e6:.1f} M parameters into {out}")
