"""The record of a run in its model folder: the experiment, the provenance of the weights, every continuation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asr.bundle.folder import CONFIG_FILE
from asr.bundle.lm import is_language_model
from asr.config import (
    Continuation,
    Experiment,
    LmExperiment,
    Provenance,
    parse_experiment,
    parse_lm_experiment,
    read_yaml,
)
from asr.errors import ConfigError
from asr.experiments.ready import AnyExperiment
from asr.system.environment import changed, environment, project_state, toolkit_state
from asr.system.runtime import atomic_path
from asr.training.distributed import World

MAX_LISTED = 5  # keys that differ


def read_experiment(folder: Path) -> Experiment | LmExperiment:
    """The experiment of a model folder; ConfigError if its config.yaml is missing or wrong."""
    path = folder / CONFIG_FILE
    parse = parse_lm_experiment if is_language_model(folder) else parse_experiment
    return parse(read_yaml(path), source=str(path))


def refuse_other_experiment(config: AnyExperiment, saved: AnyExperiment, data_hash: str, out: Path) -> None:
    """ConfigError if a run were resumed with another configuration or other data: it would be neither run."""
    old: dict[str, Any] = _settings(saved)
    new: dict[str, Any] = _settings(config)
    keys = [key for key in dict.fromkeys([*new, *old]) if new.get(key) != old.get(key)]
    if keys:
        listed = ", ".join(f"{key} ({old.get(key)} there, {new.get(key)} given)" for key in keys[:MAX_LISTED])
        more = f" and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
        raise ConfigError(
            f"{out / CONFIG_FILE}: differs from the given configuration in {listed}{more}; resume with the settings of "
            f"its start, or begin another run from its weights: another --out with --set init_from={out}"
        )
    if saved.provenance is not None and saved.provenance.data_hash != data_hash:
        raise ConfigError(
            f"{out / CONFIG_FILE}: the run began with other data (hash {saved.provenance.data_hash}, now {data_hash}); "
            "restore the manifests, or use another --out"
        )


def _settings(config: Experiment | LmExperiment) -> dict[str, Any]:
    """What decides what is learnt, by `a.b.c`."""
    return dict(flat(config.model_dump(mode="json", exclude={"provenance", "text"})))


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as `a.b.c` and value."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def with_provenance(config: AnyExperiment, command: str, data_hash: str, world: World) -> AnyExperiment:
    """The configuration with the command line, data and environment it is used with."""
    provenance = Provenance(
        command=command,
        data_hash=data_hash,
        environment=environment(world.device, world.size),
        started=utc_now(),
    )
    return config.model_copy(update={"provenance": provenance})


def with_continuation(
    saved: AnyExperiment, command: str, step: int, world: World, say: Callable[[str], None]
) -> AnyExperiment:
    """The saved configuration with one more continuation; warns of an environment unlike that of the start."""
    origin = saved.provenance
    if origin is None:
        return saved
    began = origin.environment
    otherwise = changed(began, environment(world.device, world.size))
    if otherwise:
        listed = ", ".join(f"{key} {began[key]} -> {value}" for key, value in otherwise.items())
        say(f"warning: the rest may not be bit-identical to an uninterrupted run: {listed}")
    continuation = Continuation(started=utc_now(), step=step, command=command, changed=otherwise)
    return saved.model_copy(update={"provenance": origin.with_continuation(continuation)})


def keep_changes(folder: Path) -> None:
    """Write what was changed in the source code since its commit, as `changes-<hash>.patch`.

    The record of the environment names the hash.
    """
    for state in (toolkit_state(), project_state()):
        if state is not None and state.diff:
            with atomic_path(folder / f"changes-{state.changes}.patch") as temporary:
                temporary.write_bytes(state.diff.encode("utf-8", "surrogateescape"))


def utc_now() -> str:
    """`2026-11-25T14:05:12Z`"""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
