"""asr data: commands that work on manifests."""

from __future__ import annotations

import typer

from asr.cli.data.check import check
from asr.cli.data.cut import cut
from asr.cli.data.export import export
from asr.cli.data.import_ import import_
from asr.cli.data.leaks import leaks
from asr.cli.data.shard import shard
from asr.cli.data.stats import stats

app = typer.Typer(help="Work on manifests: examine, measure, compare, convert, pack and cut.", no_args_is_help=True)
app.command()(check)
app.command()(stats)
app.command()(leaks)
app.command("import")(import_)
app.command()(export)
app.command()(shard)
app.command()(cut)
