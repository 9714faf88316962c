"""asr train"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.options import Device, Overrides, Threads


def train(
    config: Annotated[Path, typer.Argument(help="YAML file of the experiment.", metavar="CONFIG")],
    out: Annotated[Path, typer.Option(help="Model folder to make; must be empty, unless with --resume.")],
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print hours, sizes, time and memory; train and write nothing.")
    ] = False,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Record steps 3 to 12 into OUT/training/profile: a table and a trace."),
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Train a model from a YAML configuration into a model folder."""
    from asr.training import run

    if dry_run:
        for key, value in run.dry_run(config, overrides or (), threads).items():
            typer.echo(f"{key.replace('_', ' '):24} {value}")
        return
    run.train(config, out, overrides=overrides or (), resume=resume, device=device, threads=threads, profile=profile)
