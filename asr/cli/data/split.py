"""asr data split"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.inputs import require_files
from asr.cli.outputs import check_outputs

SHARE = "as 10%, of the seconds of speech"


def split(
    manifest: Annotated[Path, typer.Argument(help="Utterances to divide.", metavar="MANIFEST")],
    dev: Annotated[str | None, typer.Option(metavar="SHARE", help=f"To choose settings by, {SHARE}.")] = None,
    test: Annotated[str | None, typer.Option(metavar="SHARE", help=f"To report on, {SHARE}.")] = None,
    by: Annotated[
        str,
        typer.Option(
            help="What stays together: speaker, recording or utterance; auto: speaker where all are known, else "
            "recording."
        ),
    ] = "auto",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Default: a folder beside MANIFEST, without its suffix.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other speakers.")] = 1,
) -> None:
    """Divide a manifest into train.jsonl, dev.jsonl and test.jsonl, no speaker being in two of them."""
    require_files(manifest)
    from asr.data.split import BY, parse_share
    from asr.registry import did_you_mean

    shares: dict[str, float] = {}
    for name, text in (("dev", dev), ("test", test)):
        if text is None:
            continue
        try:
            share = parse_share(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        if share is None:
            raise typer.BadParameter(f"--{name} {text}: expected a share such as 10%")
        shares[name] = share
    if not shares:
        raise typer.BadParameter("give --dev SHARE, --test SHARE or both, 10% for instance")
    if by not in BY:
        raise typer.BadParameter(f"--by {by}: unknown{did_you_mean(by, BY)}; known: {', '.join(BY)}")
    from asr.corpora.split import split_manifest
    from asr.system.display import Display

    folder = out or manifest.with_suffix("")
    check_outputs([folder / f"{name}.jsonl" for name in ("train", *shares)], (manifest,))
    split_manifest(manifest, folder, shares, by=by, seed=seed, say=Display().say)
