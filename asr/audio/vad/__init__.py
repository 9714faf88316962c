"""Voice activity detectors by name: energy, silero; one new file here is one new detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asr.audio.vad.base import VADS, Vad, VadStream
from asr.audio.vad.energy import EnergyVadConfig
from asr.audio.vad.silero import SileroVadConfig
from asr.registry import NamedConfig, import_siblings

import_siblings(__name__, __path__)

if TYPE_CHECKING:
    VadConfig = NamedConfig
else:
    VadConfig = VADS.config_union()

__all__ = ["VADS", "EnergyVadConfig", "SileroVadConfig", "Vad", "VadConfig", "VadStream"]
