"""asr data: commands that work on manifests."""

from __future__ import annotations

import typer

from asr.cli.data.check import check
from asr.cli.data.cut import cut

app = typer.Typer(help="Work on manifests: cut utterances into pieces.", no_args_is_help=True)
# a callback keeps `cut` a command of its own while it is the only one
app.callback()(lambda: None)
app.command()(cut)
app.command()(check)
