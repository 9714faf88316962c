"""Tables on standard output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

PIPED_WIDTH = 10_000  # characters; in a file or a pipe nothing is wrapped, so that every row is one line


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is; None where it is none."""
    from rich.console import Console

    console = Console()
    return console.width if console.is_terminal else None


def print_tables(*tables: Table) -> None:
    """Print each table that has rows, a blank line between two; fitted to a terminal, plain elsewhere."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)
    with console.capture() as capture:
        for number, table in enumerate(table for table in tables if table.row_count):
            console.print(*([""] if number else []), table, sep="\n")
    for line in capture.get().splitlines():
        console.file.write(line.rstrip() + "\n")


def shown(value: object) -> str:
    """A value of a report for people: `too_long 3, no_text 1` for counts by name, `none` where there are none."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
    return str(value)
