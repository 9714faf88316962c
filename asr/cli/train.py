"""asr train"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.console import shown
from asr.cli.inputs import require_files, require_model
from asr.cli.options import Device, Overrides, Tensorboard, Threads

Reproduce = Annotated[
    Path | None,
    typer.Option(
        metavar="EXP",
        help="Instead of CONFIG: repeat the run of this model folder as recorded there (data must have the same hash), "
        "then compare the weights bit by bit. Exit status 1 if they differ, whatever the reason.",
    ),
]


def train(
    out: Annotated[Path, typer.Option(help="Model folder to make; must be empty, unless with --resume.")],
    config: Annotated[
        Path | None,
        typer.Argument(help="YAML file of the experiment; with --from, data.", metavar="CONFIG", show_default=False),
    ] = None,
    begin_with: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Fine-tune this model on a folder or manifest given as CONFIG: imports, examines and splits the data, "
            "chooses settings, writes them to OUT.data/experiment.yaml and trains.",
        ),
    ] = None,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the newest checkpoint in --out.")] = False,
    reproduce: Reproduce = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print hours, sizes, time and memory; train and write nothing.")
    ] = False,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Record steps 3 to 12 into OUT/training/profile: a table and a trace."),
    ] = False,
    tensorboard: Tensorboard = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Train a model into a model folder: from a YAML configuration, or with --from on a folder of audio and texts."""
    if (config is None) == (reproduce is None):
        raise typer.BadParameter("give either CONFIG or --reproduce EXP")
    if reproduce is not None:
        if overrides or dry_run or profile:
            raise typer.BadParameter(
                "--set, --dry-run and --profile are only for a CONFIG; --reproduce changes nothing"
            )
        reproduce = require_model(reproduce)
        from asr.experiments.reproduce import reproduce as repeat

        same = repeat(reproduce, out, resume=resume, device=device, threads=threads, tensorboard=tensorboard)
        raise typer.Exit(0 if same else 1)
    assert config is not None
    require_files(config)
    if begin_with is not None:
        require_model(Path(begin_with))
        from asr.experiments.own_data import prepare_own_data
        from asr.system.display import Display

        config = prepare_own_data(config, begin_with, out, resume=resume, say=Display().say)

    if dry_run:
        from asr.experiments.dry_run import dry_run as estimate

        for key, value in estimate(config, overrides or (), threads).items():
            typer.echo(f"{key.replace('_', ' '):24} {shown(value)}")
        return
    from asr.experiments import launch

    launch.train(
        config,
        out,
        overrides=overrides or (),
        resume=resume,
        device=device,
        threads=threads,
        tensorboard=tensorboard,
        profile=profile,
    )
