"""`--set a.b=value`: settings changed before a configuration is validated."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import yaml

from asr.errors import ConfigError
from asr.registry import Config, NamedConfig, did_you_mean


def with_overrides(data: dict[str, Any], overrides: Sequence[str], config: type[Config] = Config) -> dict[str, Any]:
    """Put `a.b=value` (value is YAML) into a copy of nested dictionaries, creating levels on the way.

    A part that is not there, such as an encoder, becomes the one that `config` has by default, with that setting.
    In a list of parts such as `heads`, a part is found by its id or name: `heads.ctc.intermediate=null`.
    """
    data = copy.deepcopy(data)
    for override in overrides:
        path, separator, text = override.partition("=")
        if not separator or not path:
            raise ConfigError(f"--set {override}: expected key.path=value")
        *parents, last = path.split(".")
        place = data
        if parents and parents[0] not in data:
            place[parents[0]] = _default_part(config, parents[0])
        for parent in parents:
            place = _inner(place, parent, override)
        try:
            place[last] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {override}: the value is not valid YAML") from error
    return data


def _default_part(config: type[Config], key: str) -> Any:
    """What names the part, or the list of parts, that a configuration has by default; an empty dictionary if none."""
    field = config.model_fields.get(key)
    default = field.default if field is not None else None
    if isinstance(default, NamedConfig):
        return {"name": default.name}
    if isinstance(default, tuple) and default and all(isinstance(part, NamedConfig) for part in default):
        return [{"name": part.name} for part in default]
    return {}


def _inner(place: dict[str, Any], key: str, override: str) -> dict[str, Any]:
    """The dictionary behind a key; a list of named parts counts as one whose keys are their ids or names."""
    inner = place.get(key)
    if isinstance(inner, list) and all(isinstance(part, dict) for part in inner):
        return _Parts(inner, f"--set {override}: {key}")
    if not isinstance(inner, dict):
        place[key] = inner = {}
    return inner


class _Parts(dict[str, Any]):
    """A list of parts, seen as a dictionary by id or name."""

    def __init__(self, parts: list[Any], where: str) -> None:
        super().__init__({str(part.get("id") or part.get("name")): part for part in parts})
        self._where = where

    def get(self, key: str, default: Any = None) -> Any:
        if key not in self:
            raise ConfigError(f"{self._where} has no '{key}'{did_you_mean(key, self)}")
        return self[key]

    def __setitem__(self, key: str, value: Any) -> None:
        raise ConfigError(f"{self._where}.{key}: name a setting of that part, or give the whole list")
