"""Tables on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

PIPED_WIDTH = 10_000  # characters; in a file or a pipe nothing is wrapped, so that every row is one line


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
