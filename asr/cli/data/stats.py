"""asr data stats"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.inputs import require_files
from asr.cli.outputs import check_outputs


def stats(
    manifest: Annotated[Path, typer.Argument(help="What to measure.", metavar="MANIFEST")],
    against: Annotated[
        Path | None, typer.Option(metavar="TRAIN", help="Manifest whose words are known: shows which are not.")
    ] = None,
    headers: Annotated[
        bool, typer.Option("--headers", help="Read every audio file's header for sample rates and channels.")
    ] = False,
    normalize: Annotated[str, typer.Option(help="Normaliser of texts: none, upper, basic or english.")] = "basic",
    plots: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Draw durations, speakers, speech rate and words into this folder."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all numbers to this file.")
    ] = None,
) -> None:
    """Measure a corpus: hours, speakers, durations, words, and with --against the words another one lacks."""
    require_files(manifest, against)
    import json

    from asr.cli.console import print_tables
    from asr.corpora.stats import measure
    from asr.corpora.stats_report import draw, tables
    from asr.data.manifest import read_manifest
    from asr.system.outputs import check_folder
    from asr.system.runtime import write_text_atomic

    check_outputs((json_file,), (manifest, against))
    if plots is not None:
        check_folder(plots)
    measured = measure(
        read_manifest(manifest),
        normalizer=normalize,
        known=read_manifest(against) if against is not None else None,
        headers=headers,
    )
    print_tables(*tables(measured))
    if json_file is not None:
        write_text_atomic(json_file, json.dumps(measured.to_json(), indent=2, ensure_ascii=False) + "\n")
    if plots is not None:
        for path in draw(measured, plots):
            typer.echo(path)
