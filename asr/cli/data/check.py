"""asr data check"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asr.cli.inputs import require_files, require_model
from asr.cli.outputs import check_outputs

if TYPE_CHECKING:
    from asr.corpora.doctor.settings import CheckSettings
    from asr.data.requirements import Requirements

Manifest = Annotated[Path, typer.Argument(help="What to examine.", metavar="MANIFEST")]
Out = Annotated[Path | None, typer.Option(help="Manifest of the good rows to write, with rejected.jsonl beside it.")]
Rejected = Annotated[Path | None, typer.Option(help="Another file for the rejected rows and their reasons.")]
Model = Annotated[Path | None, typer.Option(metavar="EXP", help="Find also what this model cannot spell or align.")]
Config = Annotated[
    Path | None, typer.Option(metavar="CONFIG", help="The same for a model that is still to be trained.")
]
Reject = Annotated[
    list[str] | None, typer.Option(metavar="CODE", help="Reject what is only counted; may be given several times.")
]
Ignore = Annotated[
    list[str] | None, typer.Option(metavar="CODE", help="Pass over a fault; may be given several times.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit status 1 if a row was rejected.")]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write counts and every finding to it.")]
MinDuration = Annotated[float | None, typer.Option(min=0, help="Seconds; by default the model's, or 0.05.")]
MaxDuration = Annotated[float | None, typer.Option(min=0, help="Seconds; by default the model's, or 40.")]
Tolerance = Annotated[float, typer.Option(min=0, help="Seconds the audio may be longer or shorter than its row says.")]
SampleRate = Annotated[int | None, typer.Option(min=1, help="Expected, in Hz; by default what most have.")]
Channels = Annotated[int | None, typer.Option(min=1, help="Expected; by default what most have.")]
Script = Annotated[
    list[str] | None,
    typer.Option(help="Expected: latin, cyrillic, han, ...; may be given several times; by default what most have."),
]
Normalize = Annotated[
    str | None,
    typer.Option(help="Normaliser of texts: none, upper, basic, english; by default the model's, or basic."),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes that decode; by default as many as cores.")]


def check(
    manifest: Manifest,
    out: Out = None,
    rejected: Rejected = None,
    model: Model = None,
    config: Config = None,
    reject: Reject = None,
    ignore: Ignore = None,
    strict: Strict = False,
    json_file: JsonFile = None,
    min_duration: MinDuration = None,
    max_duration: MaxDuration = None,
    tolerance: Tolerance = 0.1,
    sample_rate: SampleRate = None,
    channels: Channels = None,
    script: Script = None,
    normalize: Normalize = None,
    workers: Workers = None,
) -> None:
    """Examine every row of a manifest and its audio, and set aside what cannot be trained on.

    Nothing stops it: each fault gets a code. Rows with a fault of severity reject are left out of the clean manifest,
    faults of severity warn are counted.
    """
    require_files(manifest, config)
    if model is not None:
        model = require_model(model)
    from asr.cli.console import print_tables
    from asr.corpora.doctor.check import check as examine
    from asr.system.display import Display, clock, counted
    from asr.system.processes import num_cores

    _refuse_clashes(out, rejected, model, config)
    beside = out.with_name("rejected.jsonl") if out is not None else None
    check_outputs((out, rejected or beside, json_file), (manifest, config), model)
    settings = _settings(tolerance, sample_rate, channels, script or [], reject or [], ignore or [])
    limits = {"normalizer": normalize, "min_duration": min_duration, "max_duration": max_duration}
    display = Display()
    report = examine(
        manifest,
        settings,
        _requirements(manifest, model, config, limits),
        workers=workers or num_cores(),
        on_progress=lambda done, total: display.update(f"{done} of {total} rows"),
    )
    display.say(f"{counted(len(report.lines), 'row')} examined in {clock(report.seconds)}, processes: {report.workers}")
    print_tables(report.table())
    typer.echo(report.summary())
    report.save(json_file=json_file, clean=out, rejected=rejected)
    if strict and report.rejected:
        raise typer.Exit(1)


def _refuse_clashes(out: Path | None, rejected: Path | None, model: Path | None, config: Path | None) -> None:
    """Options that contradict each other are wrong usage."""
    if model is not None and config is not None:
        raise typer.BadParameter("--model and --config exclude each other")
    if rejected is not None and out is None:
        raise typer.BadParameter("--rejected needs --out")


def _requirements(manifest: Path, model: Path | None, config: Path | None, limits: dict[str, Any]) -> Requirements:
    """Those of a model, where one is given, with the limits that are not None."""
    from asr.data.requirements import Requirements

    requirements = Requirements()
    if model is not None or config is not None:
        from asr.experiments.requirements import load_requirements  # imports torch, which the rest does without

        requirements = load_requirements(manifest, model=model, config=config)
    return replace(requirements, **{key: value for key, value in limits.items() if value is not None})


def _settings(
    tolerance: float,
    sample_rate: int | None,
    channels: int | None,
    scripts: list[str],
    reject: list[str],
    ignore: list[str],
) -> CheckSettings:
    from asr.corpora.doctor.settings import CheckSettings, Judgement, parse_scripts
    from asr.errors import ConfigError

    try:
        return CheckSettings(tolerance, sample_rate, channels, parse_scripts(scripts), Judgement.parse(reject, ignore))
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
