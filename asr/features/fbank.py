"""Log mel filterbank energies, Kaldi's fbank."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from asr.features.base import FRONTENDS
from asr.features.kaldi import LOG_FLOOR, KaldiConfig, KaldiFrontend, mel_filterbank


class FbankConfig(KaldiConfig):
    """80 bands, the field's habit, where Kaldi's default is 23."""

    name: Literal["fbank"] = "fbank"
    num_mel_bins: int = Field(default=80, ge=3)
    use_power: bool = True  # the power spectrum; False: the magnitude


@FRONTENDS.register(FbankConfig)
class Fbank(KaldiFrontend):
    """(B, N) -> (B, T, num_mel_bins), with the log energy before them if asked for."""

    config: FbankConfig
    mel: Tensor

    def __init__(self, config: FbankConfig) -> None:
        super().__init__(config, config.num_mel_bins + config.use_energy)
        self.register_buffer("mel", mel_filterbank(config), persistent=False)

    def from_spectrum(self, power_BTK: Tensor, log_energy_BT: Tensor | None) -> Tensor:
        spectrum = power_BTK if self.config.use_power else power_BTK.sqrt()
        bands = (spectrum @ self.mel).clamp_(min=LOG_FLOOR).log_()
        return bands if log_energy_BT is None else torch.cat((log_energy_BT[..., None], bands), dim=-1)
