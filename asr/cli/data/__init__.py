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
from asr.cli.examples import epilog

app = typer.Typer(help="Work on manifests: examine, measure, compare, convert, pack and cut.", no_args_is_help=True)
for name, command in {
    "check": check,
    "stats": stats,
    "leaks": leaks,
    "import": import_,
    "export": export,
    "shard": shard,
    "cut": cut,
}.items():
    app.command(name, epilog=epilog(f"data {name}"))(command)
