"""asr data: commands that work on manifests."""

from __future__ import annotations

import typer

from asr.cli.data.check import check
from asr.cli.data.cut import cut
from asr.cli.data.export import export
from asr.cli.data.import_ import import_
from asr.cli.data.leaks import leaks
from asr.cli.data.shard import shard
from asr.cli.data.split import split
from asr.cli.data.stats import stats
from asr.cli.examples import epilog

app = typer.Typer(
    help="Work on manifests: examine, measure, compare, convert, divide, pack and cut.", no_args_is_help=True
)
app.command("check", epilog=epilog("data check"))(check)
app.command("stats", epilog=epilog("data stats"))(stats)
app.command("leaks", epilog=epilog("data leaks"))(leaks)
app.command("import", epilog=epilog("data import"))(import_)
app.command("export", epilog=epilog("data export"))(export)
app.command("split", epilog=epilog("data split"))(split)
app.command("shard", epilog=epilog("data shard"))(shard)
app.command("cut", epilog=epilog("data cut"))(cut)
