"""What `asr info` tells about a model folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from asr.bundle.bundle import Bundle
from asr.bundle.import_record import RECORD_FILE, read_import_record
from asr.bundle.lm import LmBundle, is_language_model
from asr.bundle.training_texts import TrainingTexts
from asr.config import Experiment, Provenance
from asr.experiments.ready import num_parameters
from asr.system.display import clock, counted
from asr.training.checkpoint import CheckpointFolder
from asr.training.metrics import LOG_FILE, PERPLEXITY, WER, Metric, read_log

MOST_LISTED = 12  # values of a setting


def summarize(folder: Path) -> Iterator[tuple[str, str]]:
    """Names and values for people, in reading order; BundleError if the folder is no whole model.

    The training part may be missing, and so may results and training texts.
    """
    yield from _language_model(folder) if is_language_model(folder) else _acoustic_model(folder)


def _acoustic_model(folder: Path) -> Iterator[tuple[str, str]]:
    bundle = Bundle.load(folder)
    config = bundle.spec
    yield "model", str(folder)
    yield "encoder", _settings(config.encoder.model_dump())
    for head in config.heads:
        yield f"head {head.head_id}", _settings(head.model_dump(exclude={"id"}))
    yield "parameters", _size(bundle.model)
    yield "vocabulary", f"{bundle.tokenizer.vocab_size} tokens ({config.tokenizer.name})"
    yield "front-end", f"{bundle.frontend.num_features} features at {bundle.frontend.sample_rate} Hz"
    yield "search", _settings(config.search.model_dump())
    yield "texts", f"normalised with '{config.normalize}'"
    if isinstance(config, Experiment):
        yield "data", f"train {config.data.train}, dev {config.data.dev}"
    yield from _foreign_origin(folder, is_trained_on=config.provenance is not None)
    yield from _origin(config.provenance)
    texts = TrainingTexts.load(folder)
    yield "seen", f"{len(texts.hashes)} training texts and speakers" if texts else "not on record"
    if isinstance(config, Experiment):
        yield "training", _training_state(folder, config.training.epochs, WER)
    for path in sorted(folder.glob("results/*/wer.json")):
        yield f"WER {path.parent.name}", _score(json.loads(path.read_text(encoding="utf-8")))


def _language_model(folder: Path) -> Iterator[tuple[str, str]]:
    bundle = LmBundle.load(folder)
    config = bundle.config
    assert config.text is not None
    yield "model", str(folder)
    yield "language model", _settings(config.language_model.model_dump())
    yield "parameters", _size(bundle.model)
    yield "vocabulary", f"{bundle.tokenizer.vocab_size} tokens ({config.text.tokenizer.name}) of {config.model}"
    yield "texts", f"normalised with '{config.text.normalize}'"
    yield "data", f"train {', '.join(config.data.train)}, dev {', '.join(config.data.dev)}"
    yield from _origin(config.provenance)
    yield "training", _training_state(folder, config.training.epochs, PERPLEXITY)


def _size(model: torch.nn.Module) -> str:
    parameters = num_parameters(model)
    return f"{parameters:,} ({parameters / 1e6:.2f} M)"


def _settings(values: dict[str, Any]) -> str:
    name = values.pop("name")
    return f"{name} ({_listed(values)})" if values else str(name)


def _foreign_origin(folder: Path, *, is_trained_on: bool) -> Iterator[tuple[str, str]]:
    origin = read_import_record(folder / RECORD_FILE)
    if origin is not None:
        yield "began with" if is_trained_on else "source", origin.description
        yield "licence", origin.licence or "not stated"


def _origin(provenance: Provenance | None) -> Iterator[tuple[str, str]]:
    if provenance is None:
        return
    yield "data hash", provenance.data_hash
    yield "command", provenance.command
    if provenance.started is not None:
        yield "started", provenance.started
    yield "made by", _listed(provenance.environment)
    for one in provenance.continued:
        elsewhere = f" with {_listed(one.changed)}" if one.changed else ""
        yield "continued", f"{one.started} after step {one.step}{elsewhere}: {one.command}"
    if provenance.averaged is not None:
        yield "averaged", f"epochs {', '.join(map(str, provenance.averaged))}"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_shortened(value)}" for key, value in values.items())


def _shortened(value: Any) -> str:
    """A list is shown as long as one can take it in, settings within settings in parentheses."""
    if isinstance(value, Mapping):
        return f"({_listed(value)})"
    is_long = isinstance(value, list | tuple) and len(value) > MOST_LISTED
    return f"[{len(value)} values]" if is_long else str(value)


def _training_state(folder: Path, epochs: int, metric: Metric) -> str:
    checkpoints = CheckpointFolder(folder / "training")
    loaded = checkpoints.load_newest() if checkpoints.exist() else None
    if loaded is None:
        return "no training state (the model works without)"
    progress = loaded[0]
    state = f"epoch {progress.epoch} of {epochs}, step {progress.step}, {clock(progress.seconds)}"
    if progress.validations:
        best = progress.best(metric.key, 1)[0]
        state += f", best {metric.show(best[metric.key])} (epoch {best['epoch']:.0f})"
    state += f", {counted(progress.skipped, 'step')} skipped" if progress.skipped else ""
    return state + (
        f", {counted(progress.unreadable, 'time')} without an unreadable row" if progress.unreadable else ""
    )


def trained_steps(folder: Path) -> int | None:
    """The last step that the log of a model folder tells of; None without a log."""
    try:
        records = read_log(folder / "training" / LOG_FILE)
    except (OSError, ValueError):  # it may be deleted, and is not worth an error here
        return None
    return max((record["step"] for record in records if "step" in record), default=0)


def _score(score: dict[str, Any]) -> str:
    errors = f"{score['substitutions']} S, {score['deletions']} D, {score['insertions']} I"
    rate = "-" if score["wer"] is None else f"{100 * score['wer']:.2f} %"
    return (
        f"{rate} ({errors}, {counted(score['reference_words'], 'word')}, {counted(score['utterances'], 'utterance')})"
    )
