"""The training runs below a folder: what each is, how far it came, how well it does."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from asr.bundle.bundle import FRONTEND_PREFIX
from asr.bundle.folder import CONFIG_FILE, WEIGHTS_FILE
from asr.config import Experiment, LmExperiment, read_yaml
from asr.errors import AsrError, TrainingError
from asr.experiments.claim import CLAIM_FILE, is_claimed
from asr.experiments.records import flat, read_experiment
from asr.system.environment import HARMLESS
from asr.training.metrics import LOG_FILE, PERPLEXITY, WER, Metric, read_log

RUNNING, FINISHED, STOPPED, NO_LOG = "running", "finished", "stopped", "no log"


@dataclass(frozen=True)
class Result:
    """What `asr evaluate` found on one set."""

    wer: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Run:
    """One experiment folder; what it does not tell is None."""

    name: str  # path below the folder that was searched
    metric: Metric  # of the dev set: perplexity for language models
    model: str  # the encoder's name, or the language model's
    status: str
    parameters: int
    planned_epochs: int
    epochs: int | None = None  # finished
    best: float | None = None  # of `metric`
    seconds: float | None = None
    rate: tuple[float, str] | None = None  # per second, of what: "audio_seconds"
    started: str | None = None
    results: Mapping[str, Result] = field(default_factory=dict)  # by set
    settings: Mapping[str, Any] = field(default_factory=dict)  # "encoder.dim" -> 144; "environment.torch" and the like
    curve: Sequence[Mapping[str, Any]] = ()  # records of epochs

    @property
    def is_language_model(self) -> bool:
        """Whether the folder holds one."""
        return self.metric is PERPLEXITY


@dataclass(frozen=True)
class Broken:
    """A folder that looks like a run but cannot be read."""

    name: str
    problem: str


def find_runs(root: Path) -> tuple[list[Run], list[Broken]]:
    """All experiment folders at or below `root`, in the order of their names. TrainingError if there is none."""
    runs: list[Run] = []
    broken: list[Broken] = []
    for folder in _folders(root):
        name = str(folder.relative_to(root)) if folder != root else folder.name or str(folder)
        try:
            runs.append(_read(folder, name))
        except (AsrError, OSError, ValueError, KeyError, TypeError) as error:
            is_ours = isinstance(error, AsrError)
            broken.append(Broken(name, str(error) if is_ours else f"cannot be read ({type(error).__name__}: {error})"))
    if not runs and not broken:
        raise TrainingError(f"{root}: no run at or below it; `asr train CONFIG --out {root / 'NAME'}` makes one")
    return runs, broken


def differing_settings(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """The settings that are not the same in all runs, with the value of each run (None where it has no such key)."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    values = {key: [run.settings.get(key) for run in runs] for key in keys}
    return {key: row for key, row in values.items() if any(value != row[0] for value in row)}


def _folders(root: Path) -> Iterator[Path]:
    """Folders that are, or were about to become, an experiment; what lies inside of one is not searched."""
    if not root.is_dir():
        raise TrainingError(f"{root}: no such folder")
    for place, folders, files in os.walk(root):
        folder = Path(place)
        if _is_experiment(folder, files):
            folders.clear()
            yield folder
        folders.sort()


def _is_experiment(folder: Path, files: Sequence[str]) -> bool:
    """Other programs, too, call their configuration config.yaml; an unreadable one counts as ours."""
    if CLAIM_FILE in files or (folder / "training" / LOG_FILE).is_file():
        return True
    try:
        return CONFIG_FILE in files and "format_version" in read_yaml(folder / CONFIG_FILE)
    except AsrError:
        return True


def _read(folder: Path, name: str) -> Run:
    """One run; AsrError and whatever damaged JSON leads to if it is broken."""
    running = is_claimed(folder)
    if not (folder / CONFIG_FILE).is_file():
        raise TrainingError("being prepared" if running else f"has no {CONFIG_FILE}; stopped before it began")
    config = read_experiment(folder)
    log = folder / "training" / LOG_FILE
    records = read_log(log) if log.is_file() else []
    epochs = [record for record in records if record["kind"] == "epoch"]
    trained = [record for record in records if record["kind"] != "start"]
    is_lm = isinstance(config, LmExperiment)
    metric = PERPLEXITY if is_lm else WER
    last = epochs[-1] if epochs else {}
    return Run(
        name=name,
        metric=metric,
        model=config.language_model.name if isinstance(config, LmExperiment) else _model_name(config),
        status=RUNNING if running else _status(records),
        parameters=_num_parameters(folder / WEIGHTS_FILE),
        planned_epochs=config.training.epochs,
        epochs=last.get("epoch"),
        best=min((record[metric.key] for record in trained if record.get(metric.key) is not None), default=None),
        seconds=last.get("seconds"),
        rate=_rate(last),
        started=config.provenance.started if config.provenance else None,
        results=dict(_results(folder)),
        settings=dict(_settings(config)),
        curve=epochs,
    )


def _model_name(config: Experiment) -> str:
    """`conformer + ctc`, or `conformer + ctc + lstm`."""
    return " + ".join([config.encoder.name, *(head.head_id for head in config.heads)])


def _status(records: Sequence[Mapping[str, Any]]) -> str:
    if not records:
        return NO_LOG
    return FINISHED if records[-1]["kind"] == "average" else STOPPED


def _num_parameters(weights: Path) -> int:
    """How many numbers the network has, by the head of the file; TrainingError if it is missing or damaged."""
    try:
        with safe_open(weights, framework="pt") as file:
            names = [name for name in file.keys() if not name.startswith(FRONTEND_PREFIX)]  # noqa: SIM118
            return sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    except FileNotFoundError as error:
        raise TrainingError(f"has no {WEIGHTS_FILE}; stopped before it began") from error
    except SafetensorError as error:
        raise TrainingError(f"{WEIGHTS_FILE} is damaged ({error})") from error


def _rate(record: Mapping[str, Any]) -> tuple[float, str] | None:
    """Throughput at the end of an epoch and its unit: `audio_seconds_per_second` and the like."""
    ending = "_per_second"
    return next(((record[key], key.removesuffix(ending)) for key in record if key.endswith(ending)), None)


def _results(folder: Path) -> Iterator[tuple[str, Result]]:
    for path in sorted(folder.glob("results/*/wer.json")):
        score = json.loads(path.read_text(encoding="utf-8"))
        interval = score.get("ci95")
        yield path.parent.name, Result(score["wer"], tuple(interval) if interval else None)


def _settings(config: Experiment | LmExperiment) -> Iterator[tuple[str, Any]]:
    """Every key of the configuration, and further things its results depend on."""
    yield from flat(config.model_dump(mode="json", exclude={"provenance", "format_version"}))
    if config.provenance is not None:
        yield "data_hash", config.provenance.data_hash
        environment = config.provenance.environment
        yield from ((f"environment.{key}", value) for key, value in environment.items() if key not in HARMLESS)
