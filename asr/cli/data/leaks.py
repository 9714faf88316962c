"""asr data leaks"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.inputs import require_files
from asr.cli.outputs import check_outputs


def leaks(
    train: Annotated[Path, typer.Argument(help="What a model learns from.", metavar="TRAIN")],
    test: Annotated[Path, typer.Argument(help="What it is to be tested on.", metavar="TEST")],
    audio: Annotated[bool, typer.Option("--audio/--no-audio", help="Compare the audio, too.")] = True,
    normalize: Annotated[str, typer.Option(help="Normaliser of texts: none, upper, basic or english.")] = "basic",
    threshold: Annotated[
        float, typer.Option(min=0.5, max=1, help="Share of words from which two texts are nearly the same.")
    ] = 0.8,
    examples: Annotated[int, typer.Option(min=0, help="Examples of each kind to show.")] = 3,
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 1 if anything is shared.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write counts and all pairs to this file.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode; by default as many as there are cores.")
    ] = None,
) -> None:
    """Find what a test set shares with a training set: audio, speakers, texts, and nearly equal texts."""
    require_files(train, test)
    import json

    from asr.cli.console import print_tables
    from asr.corpora.leaks import find_leaks
    from asr.data.manifest import read_manifest
    from asr.system.display import Display
    from asr.system.processes import num_cores
    from asr.system.runtime import write_text_atomic

    check_outputs((json_file,), (train, test))
    num_workers = workers or num_cores()
    display = Display()
    found = find_leaks(
        read_manifest(train),
        read_manifest(test),
        normalizer=normalize,
        threshold=threshold,
        audio=audio,
        workers=num_workers,
        on_progress=display.update,
    )
    for reason in found.not_compared[:5]:
        display.say(f"warning: not compared: {reason}")
    if len(found.not_compared) > 5:
        display.say(f"warning: {len(found.not_compared) - 5} more were not compared")
    display.say(f"{found.num_test} test utterances compared, processes: {num_workers}")
    print_tables(found.table(examples))
    if json_file is not None:
        write_text_atomic(json_file, json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n")
    if strict and any(found.kinds.values()):
        raise typer.Exit(1)
