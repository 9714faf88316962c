"""Attention decoders by name; one new file here is one new decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asr.models.decoders.base import DECODERS, Decoder
from asr.registry import NamedConfig, import_siblings

import_siblings(__name__, __path__)

if TYPE_CHECKING:
    DecoderConfig = NamedConfig
else:
    DecoderConfig = DECODERS.config_union()

__all__ = ["DECODERS", "Decoder", "DecoderConfig"]
