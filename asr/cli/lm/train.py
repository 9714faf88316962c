"""asr lm train"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.inputs import require_files, require_model
from asr.cli.options import Device, Overrides, Tensorboard, Threads
from asr.cli.outputs import check_outputs

Texts = Annotated[
    list[Path] | None, typer.Argument(help="Files of lines, gzipped or not, or manifests (.jsonl).", metavar="TEXT...")
]
Out = Annotated[Path, typer.Option(help="ARPA file to write, LM.arpa or LM.arpa.gz; with --neural a folder to make.")]
Neural = Annotated[
    Path | None,
    typer.Option(metavar="CONFIG", help="Train the neural language model of this YAML file, which names the texts."),
]
Order = Annotated[int, typer.Option(min=1, help="Length of the longest n-grams.")]
Prune = Annotated[
    str, typer.Option(help="By order: n-grams that occur at most so often are left out; the last one goes on.")
]
VocabSize = Annotated[int | None, typer.Option(min=1, help="Keep the most frequent words; others are <unk>.")]
Vocab = Annotated[Path | None, typer.Option(help="Keep the words of this file, one a line; others are <unk>.")]
Tokens = Annotated[
    Path | None, typer.Option(help="Model folder, or a name; its tokens are then the words of the language model.")
]
Normalize = Annotated[str, typer.Option(help="Normaliser of all texts: none, upper, basic or english.")]
Dev = Annotated[Path | None, typer.Option(help="Held-out text, to print the perplexity of.")]
Resume = Annotated[bool, typer.Option("--resume", help="With --neural: resume from the newest checkpoint in --out.")]

NGRAM_PARAMETERS = ("texts", "order", "prune", "vocab_size", "vocab", "tokens", "normalize", "dev")
NEURAL_PARAMETERS = ("overrides", "resume", "tensorboard", "device", "threads")


def train(
    context: typer.Context,
    out: Out,
    texts: Texts = None,
    neural: Neural = None,
    order: Order = 3,
    prune: Prune = "0",
    vocab_size: VocabSize = None,
    vocab: Vocab = None,
    tokens: Tokens = None,
    normalize: Normalize = "none",
    dev: Dev = None,
    overrides: Overrides = None,
    resume: Resume = False,
    tensorboard: Tensorboard = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Train an n-gram language model (interpolated modified Kneser-Ney), or with --neural an LSTM or Transformer.

    --set, --resume, --tensorboard, --device and --threads are for neural models.
    """
    require_files(neural, *(texts or ()), vocab, dev)
    if tokens is not None:
        tokens = require_model(tokens)
    if neural is not None:
        _refuse(context, NGRAM_PARAMETERS, "not with --neural, whose configuration has all settings")
        from asr.experiments import launch
        from asr.experiments.lm_task import LANGUAGE_MODEL

        launch.train(
            neural,
            out,
            kind=LANGUAGE_MODEL,
            overrides=overrides or (),
            resume=resume,
            device=device,
            threads=threads,
            tensorboard=tensorboard,
        )
        return
    _refuse(context, NEURAL_PARAMETERS, "only with --neural")
    if not texts:
        raise typer.BadParameter("give TEXT files, or --neural CONFIG")
    from rich.console import Console

    from asr.experiments.ngram import NgramSettings, parse_prune, train_ngram

    check_outputs((out,), (*texts, vocab, dev), tokens)
    settings = NgramSettings(order, parse_prune(prune), vocab_size, vocab, tokens, normalize)
    report = train_ngram(texts, out, settings, dev)
    console = Console(soft_wrap=True)
    console.print(report.table())
    if dev is not None:
        console.print(report.dev_line(), highlight=False)


def _refuse(context: typer.Context, names: Iterable[str], reason: str) -> None:
    """An error of usage if any of these parameters stands on the command line."""
    given = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            given.append(parameter.opts[0] if parameter.param_type_name == "option" else "TEXT")
    if given:
        raise typer.BadParameter(f"{', '.join(given)}: {reason}")
