"""The README.md that asr writes into a model folder: what it is, what made it, how well it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asr.bundle.folder import CONFIG_FILE
from asr.bundle.import_record import CARD_FILE, RECORD_FILE, read_import_record
from asr.bundle.lm import is_language_model
from asr.config import LmExperiment, ModelSpec, Provenance, load_spec
from asr.experiments.records import read_experiment
from asr.system.runtime import write_text_atomic
from asr.training.metrics import LOG_FILE, read_log

TEMPLATE = """# {title}

Written by asr {version}. {parts}, tokens `{tokenizer}`, normaliser `{normalize}`.{base}

    {command}

Data hash `{data_hash}`, commit `{commit}`, seed {seed}, torch {torch}, {threads} threads on {machine}.

{results}
Use it:

{use}
"""

BASE = "It began with the weights of {name}, other people's work, from {source}: {credit}."


def write_card(folder: Path) -> None:
    """(Re)write README.md from config.yaml, and from every results/<set>/wer.json or the log of a language model."""
    config = read_experiment(folder) if is_language_model(folder) else load_spec(folder / CONFIG_FILE)
    origin = read_import_record(folder / RECORD_FILE)
    if origin is not None and config.provenance is None:
        write_text_atomic(folder / CARD_FILE, origin.card(_results_table(folder / "results")))
        return
    parts = _language_model(folder, config) if isinstance(config, LmExperiment) else _acoustic_model(folder, config)
    made = _origin(config.provenance)
    base = (
        ""
        if origin is None
        else f"\n\n{BASE.format(name=origin.name, source=origin.description, credit=origin.credit)}"
    )
    text = TEMPLATE.format(title=folder.name, seed=getattr(config, "seed", "-"), base=base, **parts, **made)
    write_text_atomic(folder / CARD_FILE, text)


def _acoustic_model(folder: Path, config: ModelSpec) -> dict[str, str]:
    heads = ", ".join(f"`{head.head_id}`" for head in config.heads)
    return {
        "parts": f"Encoder `{config.encoder.name}`, heads {heads}",
        "tokenizer": config.tokenizer.name,
        "normalize": config.normalize,
        "results": _results_table(folder / "results"),
        "use": f"    asr transcribe FILE --model {folder.name}\n    asr evaluate {folder.name} MANIFEST",
    }


def _language_model(folder: Path, config: LmExperiment) -> dict[str, str]:
    assert config.text is not None
    perplexity = read_log(folder / "training" / LOG_FILE)[-1]["perplexity"]
    return {
        "parts": f"Language model `{config.language_model.name}` for `{config.model}`",
        "tokenizer": config.text.tokenizer.name,
        "normalize": config.text.normalize,
        "results": f"Perplexity per token of the dev texts, sentence ends included: {perplexity:.3f}.\n",
        "use": f"    asr transcribe FILE --model {config.model} --lm {folder.name}",
    }


def _origin(provenance: Provenance | None) -> dict[str, Any]:
    """What the template says of a model's making."""
    environment = provenance.environment if provenance else {}
    return {
        "version": environment.get("asr", "?"),
        "command": provenance.command if provenance else "(unknown command)",
        "data_hash": provenance.data_hash if provenance else "?",
        "commit": environment.get("commit") or "unknown",
        "torch": environment.get("torch"),
        "threads": environment.get("threads"),
        "machine": environment.get("machine"),
    }


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
