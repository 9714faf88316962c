"""Which search a trained model decodes with."""

from __future__ import annotations

from collections.abc import Sequence

from asr.config import ExperimentConfig, parse_config
from asr.decoding import SEARCHES
from asr.errors import ConfigError
from asr.registry import NamedConfig


def search_config(config: ExperimentConfig, name: str | None = None, overrides: Sequence[str] = ()) -> NamedConfig:
    """The model's own search, or another by name, with `search.key=value` overrides applied.

    Raises ConfigError for an unknown search, setting or value, and for an override of anything but the search, which
    could have no effect on a model that is trained already.
    """
    for override in overrides:
        if not override.startswith("search."):
            raise ConfigError(f"--set {override}: a trained model's search.* settings can be changed, nothing else")
    search = config.search if name in (None, config.search.name) else SEARCHES.config(name).model_validate({})
    data = config.model_dump(mode="json") | {"search": search.model_dump(mode="json")}
    return parse_config(data, overrides, source="--set").search
