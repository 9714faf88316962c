"""The command `asr`: finds the subcommand, and turns whatever goes wrong into one line and an exit status.

Command modules import nothing heavy before they run, so that `asr --help` is quick.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from asr import __version__
from asr.cli import data, lm, models
from asr.cli.align import align
from asr.cli.average import average
from asr.cli.config import config
from asr.cli.evaluate import evaluate
from asr.cli.examples import epilog
from asr.cli.info import info
from asr.cli.listen import listen
from asr.cli.runs import runs
from asr.cli.score import score
from asr.cli.serve import serve
from asr.cli.train import train
from asr.cli.transcribe import transcribe
from asr.cli.tune import tune
from asr.errors import AsrError, StoppedError, UsageError
from asr.system.libraries import settle_libraries

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
DEBUG = "--debug"  # understood anywhere on the line, before or after the command

app = typer.Typer(
    help="Speech recognition: train a model, transcribe audio, measure the word error rate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (train, evaluate, transcribe, listen, serve, align, score, tune, average, info, runs, config):
    app.command(epilog=epilog(command.__name__))(command)
app.add_typer(data.app, name="data")
app.add_typer(lm.app, name="lm")
app.add_typer(models.app, name="models")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"asr {__version__}")
        raise typer.Exit


@app.callback()
def _app(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    _debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit status 0: fine; 1: an error, in one line; 2: wrong usage; 130: interrupted."""
    settle_libraries()
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG in words
    if sys.stdout is None:  # closed by the shell; a result that nobody gets must not pass for a success
        sys.stdout = open(os.devnull, encoding="utf-8")
    warnings.showwarning = _show_warning
    try:
        try:
            app(args=[word for word in words if word != DEBUG], prog_name="asr")
        finally:
            sys.stdout.flush()  # here, where an error can still be reported
    except SystemExit as leaving:
        if leaving.code == 130:
            print("interrupted", file=sys.stderr)
        raise
    except BrokenPipeError:  # nobody reads on, which is not our fault
        _give_up_output()
        sys.exit(1)
    except StoppedError as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(f"error: {_line(error)}", file=sys.stderr)
        if isinstance(error, OSError):
            _give_up_output()
        sys.exit(2 if isinstance(error, UsageError) else 1)


def _give_up_output() -> None:
    """Let Python, when it ends, throw away what standard output did not take instead of complaining once more."""
    with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _line(error: Exception) -> str:
    """An error in one line: ours, one of the system about a file or standard output, or one nobody foresaw."""
    if isinstance(error, AsrError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, io.UnsupportedOperation) or (isinstance(error, OSError) and error.errno in NO_ROOM):
        return f"standard output: cannot be written ({error.strerror or 'it is closed'})"
    text = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {text}; run again with {DEBUG} for the details, and report it"


def _show_warning(message: Warning | str, *_where: object, **_how: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
