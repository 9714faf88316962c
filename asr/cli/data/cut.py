"""asr data cut"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.inputs import require_files, require_model
from asr.cli.options import Threads, use_threads
from asr.cli.outputs import check_outputs


def cut(
    experiment: Annotated[Path, typer.Argument(help="Model folder; its CTC output aligns the texts.", metavar="EXP")],
    manifest: Annotated[Path, typer.Argument(help="Utterances with texts.", metavar="MANIFEST")],
    out: Annotated[Path, typer.Option(help="Manifest of pieces to write, for `splice.pieces` of an experiment.")],
    pause_db: Annotated[
        float, typer.Option(min=0, help="A pause is at least so much quieter than the loud parts of its utterance.")
    ] = 20.0,
    threads: Threads = None,
) -> None:
    """Cut utterances at the pauses between their words, by forced alignment."""
    require_files(manifest)
    experiment = require_model(experiment)
    from asr.bundle.bundle import Bundle
    from asr.data.manifest import read_manifest, write_manifest
    from asr.experiments.pieces import cut as run
    from asr.system.display import Display, counted

    check_outputs((out,), (manifest,), experiment)
    use_threads(threads)
    display = Display()
    utterances = read_manifest(manifest)
    pieces = run(
        Bundle.load(experiment),
        utterances,
        pause_db=pause_db,
        on_progress=lambda done: display.update(f"{done} of {len(utterances)} utterances"),
    )
    write_manifest(out, pieces)
    display.say(f"{counted(len(utterances), 'utterance')} in {counted(len(pieces), 'piece')}: {out}")
