"""`asr score`: word error rate of hypotheses against references."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def score(
    ref: Annotated[Path, typer.Argument(metavar="REF", help="What was said.")],
    hyp: Annotated[Path, typer.Argument(metavar="HYP", help="What was recognised.")],
    cer: Annotated[bool, typer.Option("--cer", help="Show the character error rate, too.")] = False,
    normalize: Annotated[str, typer.Option(help="Normaliser of both sides: none, basic or english.")] = "none",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Count a missing hypothesis as deletions, not as a mistake.")
    ] = False,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format", help="Format of both files: lines, kaldi, tsv, jsonl, trn, ctm or stm. Default: detected."
        ),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the score to this file, too.")] = None,
) -> None:
    """Word error rate with its 95 % bootstrap interval.

    Utterances are matched by id; in plain lines the id is the line number.
    """
    import json

    from rich.console import Console

    from asr.runtime import write_text_atomic
    from asr.scoring.report import score_table
    from asr.scoring.texts import read_pair
    from asr.scoring.wer import score as score_texts

    texts = read_pair(ref, hyp, format_name)
    result = score_texts(texts.references, texts.hypotheses, normalize=normalize, allow_missing=allow_missing)
    if json_file is not None:
        write_text_atomic(json_file, json.dumps(result.to_json(), indent=2) + "\n")
    console = Console(soft_wrap=True)
    console.print(score_table(result, cer=cer))
    console.print(f"read as {texts.reference_format} (REF) and {texts.hypothesis_format} (HYP)", highlight=False)
