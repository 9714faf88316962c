"""The README.md that asr writes into a model folder: what it is, what made it, how well it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asr.bundle import CONFIG_FILE
from asr.config import parse_config, read_yaml
from asr.runtime import write_text_atomic

TEMPLATE = """# {title}

Written by asr {version}. Encoder `{encoder}`, decoder `{decoder}`, tokens `{tokenizer}`, normaliser `{normalize}`.

    {command}

Data hash `{data_hash}`, commit `{commit}`, seed {seed}, torch {torch}, {threads} threads on {machine}.

{table}
Use it:

    asr transcribe FILE --model {title}
    asr evaluate {title} MANIFEST
"""


def write_card(folder: Path) -> None:
    """(Re)write README.md from config.yaml and every results/<set>/wer.json of a model folder."""
    config = parse_config(read_yaml(folder / CONFIG_FILE), source=str(folder / CONFIG_FILE))
    provenance = config.provenance
    environment = provenance.environment if provenance else {}
    text = TEMPLATE.format(
        title=folder.name,
        version=environment.get("asr", "?"),
        encoder=config.encoder.name,
        decoder=config.decoder.name if config.decoder else "none",
        tokenizer=config.tokenizer.name,
        normalize=config.normalize,
        command=provenance.command if provenance else "(unknown command)",
        data_hash=provenance.data_hash if provenance else "?",
        commit=environment.get("commit") or "unknown",
        seed=config.seed,
        torch=environment.get("torch"),
        threads=environment.get("threads"),
        machine=environment.get("machine"),
        table=_results_table(folder / "results"),
    )
    write_text_atomic(folder / "README.md", text)


def _results_table(results: Path) -> str:
    """A Markdown table with a row per scored set, or nothing."""
    rows = [
        (path.parent.name, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(results.glob("*/wer.json"))
    ]
    if not rows:
        return ""
    lines = ["| set | WER % | 95 % interval | S | D | I | words | utterances |", "|---|---|---|---|---|---|---|---|"]
    lines += [_row(name, score) for name, score in rows]
    return "\n".join(lines) + "\n"


def _row(name: str, score: dict[str, Any]) -> str:
    interval = score["ci95"]
    cells = [
        name,
        "-" if score["wer"] is None else f"{100 * score['wer']:.2f}",
        "-" if not interval else f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f}",
        *(str(score[key]) for key in ("substitutions", "deletions", "insertions", "reference_words", "utterances")),
    ]
    return f"| {' | '.join(cells)} |"
