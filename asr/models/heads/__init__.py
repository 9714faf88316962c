"""Heads by name: what turns encoder frames into text. One new file here is one new head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asr.models.heads.base import HEADS, Head, NamedHeadConfig
from asr.registry import import_siblings

import_siblings(__name__, __path__)

if TYPE_CHECKING:
    HeadConfig = NamedHeadConfig
else:
    HeadConfig = HEADS.config_union()

__all__ = ["HEADS", "Head", "HeadConfig"]
