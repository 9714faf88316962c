"""Settings of Hugging Face folders that must be what our networks are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr.errors import BundleError


def require_values(file: Path, settings: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """BundleError that names the first setting which is there and has another value; those left out are as wanted."""
    for name, value in wanted.items():
        if settings.get(name, value) != value:
            raise BundleError(f"{file}: {name} is {settings[name]!r}, supported is {value!r} alone")
    if settings.get("quantization_config") is not None:
        raise BundleError(f"{file}: the weights are quantised (`quantization_config`); import the original model")


def require_architecture(file: Path, config: Mapping[str, Any], wanted: str) -> None:
    """BundleError for a network that was saved for another task; a file may leave it out."""
    architectures = config.get("architectures") or [wanted]
    if not isinstance(architectures, list):
        raise BundleError(f"{file}: architectures is {architectures!r}, no list of names; copy the file again")
    if wanted not in architectures:
        raise BundleError(f"{file}: holds a {architectures[0]}, supported is {wanted}")
