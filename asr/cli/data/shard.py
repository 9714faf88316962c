"""asr data shard"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.inputs import require_files
from asr.cli.outputs import check_outputs


def shard(
    manifest: Annotated[Path, typer.Argument(help="Utterances to pack.", metavar="MANIFEST")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the tar files and their index, shards.jsonl.")],
    shard_size: Annotated[str, typer.Option(metavar="SIZE", help="Largest tar file: 1GB, 500MB, 64MiB ...")] = "1GB",
    num_utterances: Annotated[
        int | None, typer.Option("--utterances", min=1, help="Most utterances in a tar file.")
    ] = None,
    shuffle: Annotated[
        bool,
        typer.Option(
            "--shuffle/--keep-order", help="Spread the utterances over the shards at random, always in the same way."
        ),
    ] = True,
) -> None:
    """Pack audio and texts into tar files (WebDataset layout) for object stores.

    `data.train: DIR/shards.jsonl`, or its http address, then trains from them. An interrupted run goes on where it was.
    """
    require_files(manifest)
    from asr.data.manifest import read_manifest
    from asr.data.shards.index import INDEX_FILE
    from asr.data.shards.writer import ShardLimits, parse_size, write_shards
    from asr.errors import AsrError
    from asr.system.display import Display, counted

    try:
        limits = ShardLimits(parse_size(shard_size), num_utterances)
    except AsrError as error:
        raise typer.BadParameter(str(error), param_hint="--shard-size") from error
    check_outputs((out / INDEX_FILE,), (manifest,))
    display = Display()
    utterances = read_manifest(manifest)
    rows = write_shards(
        utterances,
        out,
        limits,
        shuffle=shuffle,
        on_progress=lambda done: display.update(f"{done} of {len(utterances)} utterances"),
    )
    megabytes = sum(row["bytes"] for row in rows) / 1e6
    hours = sum(row["duration"] for row in rows) / 3600
    display.say(
        f"{counted(len(utterances), 'utterance')}, {hours:.2f} h, {megabytes:.1f} MB "
        f"in {counted(len(rows), 'shard')}: {out}"
    )
