"""asr lm train"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    texts: Annotated[
        list[Path], typer.Argument(help="Files of lines, gzipped or not, or manifests (.jsonl).", metavar="TEXT...")
    ],
    out: Annotated[Path, typer.Option(help="ARPA file to write, LM.arpa or LM.arpa.gz.")],
    order: Annotated[int, typer.Option(min=1, help="Length of the longest n-grams.")] = 3,
    prune: Annotated[
        str, typer.Option(help="By order: n-grams that occur at most so often are left out; the last one goes on.")
    ] = "0",
    vocab_size: Annotated[
        int | None, typer.Option(min=1, help="Keep the most frequent words; others are <unk>.")
    ] = None,
    vocab: Annotated[
        Path | None, typer.Option(help="Keep the words of this file, one a line; others are <unk>.")
    ] = None,
    tokens: Annotated[
        Path | None, typer.Option(help="Model folder; its tokens are then the words of the language model.")
    ] = None,
    normalize: Annotated[str, typer.Option(help="Normaliser of all texts: none, basic or english.")] = "none",
    dev: Annotated[Path | None, typer.Option(help="Held-out text, to print the perplexity of.")] = None,
) -> None:
    """Train an n-gram language model: interpolated modified Kneser-Ney."""
    from rich.console import Console

    from asr.training.ngram import NgramSettings, parse_prune, train_ngram

    settings = NgramSettings(order, parse_prune(prune), vocab_size, vocab, tokens, normalize)
    report = train_ngram(texts, out, settings, dev)
    console = Console(soft_wrap=True)
    console.print(report.table())
    if dev is not None:
        console.print(report.dev_line(), highlight=False)
