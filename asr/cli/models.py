"""asr models: pretrained models of other toolkits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.examples import epilog

app = typer.Typer(help="Pretrained models of other toolkits.", no_args_is_help=True)


@app.command("import", epilog=epilog("models import"))
def import_(
    path: Annotated[Path, typer.Argument(help="Folder of a Whisper model as CTranslate2 stores it.", metavar="PATH")],
    out: Annotated[Path, typer.Option(help="Model folder to make.")],
) -> None:
    """Read a pretrained model into a model folder that all commands work on."""
    from asr.bundle.foreign import import_model
    from asr.system.outputs import check_folder

    check_folder(out)
    model = import_model(path, out)
    total = sum(tensor.numel() for tensor in model.tensors.values())
    typer.echo(f"imported {total / 1e6:.1f} M parameters into {out}")
