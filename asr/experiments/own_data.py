"""`asr train DATA --from MODEL`: from recordings and texts to the YAML of a fine-tuning run, and why it is as it is.

What it does by itself are the commands that a person would give: `asr data import`, `check` and `split`, then a file of
a dozen lines, which can be changed and run again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from asr.bundle.folder import CONFIG_FILE
from asr.bundle.store import find_model
from asr.config import Experiment, ModelSpec, load_spec
from asr.corpora.doctor.check import check
from asr.corpora.import_report import is_imported, save
from asr.corpora.importers import import_corpus
from asr.corpora.split import split_manifest
from asr.data.manifest import read_manifest
from asr.data.requirements import Requirements
from asr.errors import TrainingError
from asr.models.heads.whisper import WhisperHeadConfig
from asr.system.display import counted
from asr.system.runtime import write_text_atomic
from asr.types import Utterance

EXPERIMENT_FILE = "experiment.yaml"
SHARES = {"dev": 0.1, "test": 0.1}
NUM_STEPS = 600  # to aim at: after so many a model of 40 M has learnt what a few hours can teach it
EPOCHS = (2, 15)  # at least and at most
FEW_STEPS = 50  # below which next to nothing is learnt
BATCHES_AN_EPOCH = 40  # a small corpus learns from many small steps
BATCH_SECONDS = (20.0, 120.0)
LR_PRETRAINED, LR_OWN = 2e-5, 3e-4  # of models trained on thousands of hours, and of those of this toolkit
PATIENCE = 3  # validations without a gain
SEED = 1


@dataclass(frozen=True)
class Choice:
    """Settings of a run and the reasons, for people."""

    settings: dict[str, Any]
    reasons: tuple[str, ...]


def prepare_own_data(source: Path, model: str, out: Path, *, resume: bool, say: Callable[[str], None]) -> Path:
    """The YAML of a run that fine-tunes `model` on a folder or manifest, in the folder `OUT.data` with its data.

    A run that is resumed goes on with the file that it began with. ManifestError as importing, checking and splitting
    raise it; TrainingError for a folder that holds another run's data.
    """
    folder = out.with_name(f"{out.name}.data")
    path = folder / EXPERIMENT_FILE
    if resume and path.is_file():
        return path
    if path.exists():
        raise TrainingError(f"{path}: exists already; run it (asr train {path} --out {out}), or remove {folder}")
    if not resume and out.is_dir() and any(out.iterdir()):  # said again by the run, but after minutes of looking
        raise TrainingError(f"{out}: the folder is not empty; add --resume to go on with it, or choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    manifest = _manifest(source, folder, say)
    clean = _examined(manifest, folder, say)
    split_manifest(clean, folder, SHARES, by="auto", seed=SEED, say=say)
    spec = load_spec(find_model(model) / CONFIG_FILE)
    choice = choose(spec, model, folder, read_manifest(folder / "train.jsonl"))
    comments = "".join(f"# {reason}\n" for reason in choice.reasons)
    write_text_atomic(path, comments + yaml.safe_dump(choice.settings, sort_keys=False, allow_unicode=True, width=120))
    for reason in choice.reasons:
        say(reason)
    say(f"this is what `asr train {path} --out {out}` does; afterwards: asr evaluate {out} {folder / 'test.jsonl'}")
    return path


def choose(spec: ModelSpec, model: str, folder: Path, rows: Sequence[Utterance]) -> Choice:
    """Settings for these training rows, whose manifests lie in a folder."""
    seconds = sum(row.duration for row in rows)
    longest = max(row.duration for row in rows)
    batch = min(max(seconds / BATCHES_AN_EPOCH, longest, BATCH_SECONDS[0]), max(BATCH_SECONDS[1], longest))
    steps = max(1, math.ceil(seconds / batch))
    epochs = min(max(math.ceil(NUM_STEPS / steps), EPOCHS[0]), EPOCHS[1])
    is_own = isinstance(spec, Experiment)
    lr = LR_OWN if is_own else LR_PRETRAINED
    origin = "a model of this toolkit" if is_own else "a pretrained model, whose weights are moved little"
    reasons = [
        f"{seconds / 3600:.2f} h to train on: batches of {batch:.0f} s, about {counted(steps, 'step')} an epoch, "
        f"{epochs} epochs, fewer if dev does not gain for {PATIENCE}",
        f"learning rate {lr:g}: {model} is {origin}",
    ]
    if steps * epochs < FEW_STEPS:
        reasons.append(f"only {steps * epochs} steps: expect little; more recordings help more than any setting")
    settings: dict[str, Any] = {
        "seed": SEED,
        "data": {
            "train": str(folder / "train.jsonl"),
            "dev": str(folder / "dev.jsonl"),
            "max_batch_seconds": float(f"{batch:.3g}"),
            "max_duration": 30.0 if not is_own else 40.0,
        },
        "init_from": model,
        "optimizer": {"lr": lr},
        "training": {"epochs": epochs, "dtype": "auto", "patience": PATIENCE, "average_num": 1},
    }
    if not is_own:
        settings["spec_augment"] = None
    language = _language(rows)
    whisper = next((head for head in spec.heads if isinstance(head, WhisperHeadConfig)), None)
    if whisper is not None and whisper.language is not None and language not in (None, whisper.language):
        heads = [head.model_dump(mode="json") for head in spec.heads]
        settings["heads"] = [head | {"language": language} if head["name"] == whisper.name else head for head in heads]
        reasons.append(f"the rows are in '{language}', which the model is told")
    elif whisper is not None and whisper.language is not None and language is None:
        reasons.append(
            f"no row says its language: the model is told '{whisper.language}'; `lang` in the data changes it"
        )
    return Choice(settings, tuple(reasons))


def _manifest(source: Path, folder: Path, say: Callable[[str], None]) -> Path:
    """The manifest itself, or one imported into the folder."""
    if source.is_file() and is_imported(source):
        return source
    manifest = folder / "imported.jsonl"
    save(manifest, import_corpus(source), say)
    return manifest


def _examined(manifest: Path, folder: Path, say: Callable[[str], None]) -> Path:
    """A manifest of the rows that can be learnt from."""
    report = check(manifest, requirements=Requirements(normalizer="none", max_duration=30.0))
    clean = folder / "clean.jsonl"
    report.save(clean=clean, rejected=folder / "rejected.jsonl")
    say(report.summary().splitlines()[0])
    if not report.kept:
        raise TrainingError(f"{manifest}: no row can be learnt from; {folder / 'rejected.jsonl'} says why")
    return clean


def _language(rows: Sequence[Utterance]) -> str | None:
    """The one that all rows name, as a code of two or three letters."""
    found = {(row.lang or "").partition("-")[0].lower() for row in rows}
    return found.pop() or None if len(found) == 1 else None
