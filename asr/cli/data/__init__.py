"""asr data: commands that work on manifests."""

from __future__ import annotations

import typer

from asr.cli.data.cut import cut
from asr.cli.data.export import export
from asr.cli.data.import_ import import_
from asr.cli.data.shard import shard

app = typer.Typer(help="Work on manifests: convert, pack, cut utterances into pieces.", no_args_is_help=True)
app.command()(cut)
app.command("import")(import_)
app.command()(export)
app.command()(shard)
