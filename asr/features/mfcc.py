"""Mel frequency cepstral coefficients, Kaldi's mfcc."""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from asr.features.base import FRONTENDS
from asr.features.kaldi import LOG_FLOOR, KaldiConfig, KaldiFrontend, mel_filterbank


class MfccConfig(KaldiConfig):
    """Kaldi's defaults: 13 coefficients of 23 bands, the first replaced by the log energy."""

    name: Literal["mfcc"] = "mfcc"
    num_ceps: int = Field(default=13, ge=1)  # coefficients kept
    cepstral_lifter: float = Field(default=22.0, ge=0)  # 0: none
    use_energy: bool = True

    @model_validator(mode="after")
    def _check_coefficients(self) -> Self:
        if self.num_ceps > self.num_mel_bins:
            raise ValueError(f"num_ceps is {self.num_ceps}, but {self.num_mel_bins} mel bins give no more coefficients")
        return self


@FRONTENDS.register(MfccConfig)
class Mfcc(KaldiFrontend):
    """(B, N) -> (B, T, num_ceps)."""

    config: MfccConfig
    mel: Tensor
    cosines: Tensor

    def __init__(self, config: MfccConfig) -> None:
        super().__init__(config, config.num_ceps)
        self.register_buffer("mel", mel_filterbank(config), persistent=False)
        self.register_buffer("cosines", _lifted_dct(config), persistent=False)

    def from_spectrum(self, power_BTK: Tensor, log_energy_BT: Tensor | None) -> Tensor:
        cepstrum = (power_BTK @ self.mel).clamp_(min=LOG_FLOOR).log_() @ self.cosines
        if log_energy_BT is not None:
            cepstrum[..., 0] = log_energy_BT
        return cepstrum


def _lifted_dct(config: MfccConfig) -> Tensor:
    """(num_mel_bins, num_ceps): the orthonormal DCT-II, with the lifter that evens out the coefficients' ranges."""
    bins = torch.arange(config.num_mel_bins, dtype=torch.float64)
    order = torch.arange(config.num_ceps, dtype=torch.float64)
    cosines = (math.pi / config.num_mel_bins * (bins[:, None] + 0.5) * order).cos()
    cosines *= math.sqrt(2.0 / config.num_mel_bins)
    cosines[:, 0] = math.sqrt(1.0 / config.num_mel_bins)
    if config.cepstral_lifter:
        cosines *= 1.0 + 0.5 * config.cepstral_lifter * (math.pi * order / config.cepstral_lifter).sin()
    return cosines.float()
