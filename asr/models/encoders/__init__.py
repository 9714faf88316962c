"""Encoders by name; one new file here is one new encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asr.models.encoders.base import ENCODERS, Encoder
from asr.registry import NamedConfig, import_siblings

import_siblings(__name__, __path__)

if TYPE_CHECKING:
    EncoderConfig = NamedConfig
else:
    EncoderConfig = ENCODERS.config_union()

__all__ = ["ENCODERS", "Encoder", "EncoderConfig"]
