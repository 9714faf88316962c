"""asr lm: commands that make language models."""

from __future__ import annotations

import typer

from asr.cli.examples import epilog
from asr.cli.lm.train import train

app = typer.Typer(help="Train language models.", no_args_is_help=True)
# a callback keeps `train` a command of its own while it is the only one
app.callback()(lambda: None)
app.command(epilog=epilog("lm train"))(train)
