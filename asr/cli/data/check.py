"""asr data check"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer


def check(
    manifest: Annotated[Path, typer.Argument(help="What to examine.", metavar="MANIFEST")],
    out: Annotated[
        Path | None, typer.Option(help="Manifest of the good rows to write, with rejected.jsonl beside it.")
    ] = None,
    rejected: Annotated[Path | None, typer.Option(help="Another file for the rejected rows and their reasons.")] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="EXP", help="Also find what this model cannot spell or align by CTC.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="CONFIG", help="The same for a model that is still to be trained.")
    ] = None,
    reject: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Reject what is only counted; may be given several times.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Pass over a fault; may be given several times.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 1 if a row was rejected.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write counts and every finding to this file.")
    ] = None,
    min_duration: Annotated[
        float | None, typer.Option(min=0, help="Seconds; the model's, or 0.05.", show_default=False)
    ] = None,
    max_duration: Annotated[
        float | None, typer.Option(min=0, help="Seconds; the model's, or 40.", show_default=False)
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Seconds that the audio may be longer or shorter than the manifest says.")
    ] = 0.1,
    sample_rate: Annotated[int | None, typer.Option(min=1, help="Expected, in Hz; by default what most have.")] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="Expected; by default what most have.")] = None,
    script: Annotated[
        list[str] | None,
        typer.Option(
            help="Expected: latin, cyrillic, han, ...; may be given several times; by default what most have."
        ),
    ] = None,
    normalize: Annotated[
        str | None, typer.Option(help="Normaliser of texts: none, basic or english; by default the model's, or basic.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode; by default as many as there are cores.")
    ] = None,
) -> None:
    """Examine every row of a manifest and its audio, and set aside what cannot be trained on.

    Nothing stops it: each fault gets a code. Codes of severity reject take their row out of the clean manifest, those
    of severity warn are counted.
    """
    import json
    import time

    from asr.cli.console import print_tables
    from asr.data.doctor.check import check as examine
    from asr.data.doctor.corpus import known_scripts
    from asr.data.doctor.pool import num_cores
    from asr.data.doctor.rows import Requirements
    from asr.data.doctor.settings import CheckSettings, Judgement
    from asr.errors import ConfigError
    from asr.registry import did_you_mean
    from asr.runtime import write_text_atomic
    from asr.training.metrics import Display, clock

    if out is not None and out.resolve() == manifest.resolve():
        raise typer.BadParameter("--out would overwrite the manifest; choose another file")
    if rejected is not None and out is None:
        raise typer.BadParameter("--rejected needs --out")
    if rejected is not None and out is not None and rejected.resolve() in (out.resolve(), manifest.resolve()):
        raise typer.BadParameter("--rejected must be a file of its own")
    if model is not None and config is not None:
        raise typer.BadParameter("--model and --config exclude each other")
    if script and (unknown := set(script) - (known := known_scripts())):
        raise typer.BadParameter(f"unknown script '{min(unknown)}'{did_you_mean(min(unknown), known)}")
    try:
        judgement = Judgement.parse(reject or (), ignore or ())
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    requirements = Requirements()
    if model is not None or config is not None:
        from asr.training.requirements import load_requirements  # imports torch, which the rest does without

        requirements = load_requirements(manifest, model=model, config=config)
    given = {"normalizer": normalize, "min_duration": min_duration, "max_duration": max_duration}
    settings = CheckSettings(tolerance, sample_rate, channels, frozenset(script or ()), judgement)
    num_workers = workers or num_cores()
    display, began = Display(), time.monotonic()
    report = examine(
        manifest,
        settings,
        replace(requirements, **{key: value for key, value in given.items() if value is not None}),
        workers=num_workers,
        on_progress=lambda done, total: display.update(f"{done} of {total} rows"),
    )
    seconds = time.monotonic() - began
    display.say(f"{len(report.lines)} rows examined in {clock(seconds)}, processes: {num_workers}")
    print_tables(report.table())
    typer.echo(report.summary())
    if json_file is not None:
        write_text_atomic(json_file, json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n")
    if out is not None:
        report.write(out, rejected or out.with_name("rejected.jsonl"))
    if strict and report.rejected:
        raise typer.Exit(1)
