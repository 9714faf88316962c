"""asr data: commands that work on manifests."""

from __future__ import annotations

import typer

from asr.cli.data.check import check
from asr.cli.data.cut import cut
from asr.cli.data.leaks import leaks
from asr.cli.data.stats import stats

app = typer.Typer(help="Work on manifests: examine, measure, compare and cut.", no_args_is_help=True)
app.command()(cut)
app.command()(check)
app.command()(stats)
app.command()(leaks)
