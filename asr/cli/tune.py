"""asr tune"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.inputs import check_overrides, require_files, require_lm, require_model
from asr.cli.options import Device, Exact, Language, Lm, LmMode, Overrides, Prompt, Search, Task, Threads, use_threads
from asr.cli.outputs import check_outputs


def tune(
    experiment: Annotated[Path, typer.Argument(help="Model folder, or a name.", metavar="EXP")],
    manifest: Annotated[
        Path, typer.Argument(help="Dev utterances; never those you report results on.", metavar="DEV_MANIFEST")
    ],
    search: Search = None,
    lm: Lm = None,
    lm_mode: LmMode = None,
    overrides: Overrides = None,
    language: Language = None,
    task: Task = None,
    prompt: Prompt = None,
    exact: Exact = False,
    trials: Annotated[int, typer.Option(min=1, help="Settings tried at most.")] = 80,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the table, write nothing.")] = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Choose the settings of a beam search on dev data and write them into the model folder as decode.yaml.

    Later commands decode with these settings and this language model, unless options say otherwise. Ctrl-C keeps the
    best so far, if it is better than the settings it began with.
    """
    experiment = require_model(experiment)
    require_files(manifest)
    require_lm(lm)
    check_overrides(overrides, "search")
    import shlex
    import sys

    from rich.console import Console
    from rich.table import Table

    from asr.bundle.bundle import Bundle
    from asr.bundle.decode import SearchRequest, choose_beam_search
    from asr.bundle.prompting import Wish
    from asr.system.display import Display
    from asr.system.runtime import resolve_device
    from asr.tune import Trial, Tuner, keep_the_best, trial_row, write_decode_config
    from asr.tune import tune as run

    if not dry_run:
        check_outputs((experiment / "decode.yaml",), (manifest,))
    use_threads(threads)
    display = Display()
    bundle = Bundle.load(experiment, resolve_device(device))
    request = SearchRequest(search, tuple(overrides or ()), lm, lm_mode)
    wish = Wish(language, task, prompt)
    decoding = replace(choose_beam_search(bundle, experiment, request), wish=wish, exact=exact)
    tuner = Tuner(bundle.exact() if exact else bundle, manifest, resolve_device(device))

    def show(trial: Trial) -> None:
        display.update("  ".join(f"{name} {cell}" for name, cell in trial_row(trial).items()))

    tuned = run(tuner, decoding, max_trials=trials, on_trial=show)
    command = shlex.join(["asr", *sys.argv[1:]])
    if tuned.is_interrupted:
        raise keep_the_best(experiment, tuned, manifest, command, dry_run)
    rows = [trial_row(trial) for trial in tuned.trials]
    table = Table(*rows[0])
    for trial, row in zip(tuned.trials, rows, strict=True):
        table.add_row(*row.values(), style="bold" if trial is tuned.best else None)
    console = Console(soft_wrap=True)
    console.print(table)
    best = "  ".join(f"{name} {cell}" for name, cell in trial_row(tuned.best).items())
    console.print(f"best of {len(rows)}: {best}", highlight=False)
    if not dry_run:
        write_decode_config(experiment, tuned, manifest, command)
        display.say(f"written: {experiment / 'decode.yaml'}")
