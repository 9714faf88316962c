"""The waveform itself, for encoders that begin with convolutions over samples (wav2vec 2.0, HuBERT)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from asr.features.base import FRONTENDS, BaseFrontendConfig, Frontend
from asr.lengths import padding_mask

VARIANCE_FLOOR = 1e-7  # added to the variance, as in the feature extractors of fairseq and transformers


class RawConfig(BaseFrontendConfig):
    """Samples as they are, or of mean 0 and variance 1 over each utterance."""

    name: Literal["raw"] = "raw"
    normalize: bool = True  # each utterance to mean 0 and deviation 1

    @classmethod
    def tiny(cls) -> RawConfig:
        return cls(sample_rate=1000)


@FRONTENDS.register(RawConfig)
class Raw(Frontend):
    """(B, N) -> (B, N, 1): every sample is a frame. Statistics are of an utterance's own samples."""

    config: RawConfig

    def __init__(self, config: RawConfig) -> None:
        super().__init__(config, 1)

    @property
    def frame_seconds(self) -> float:
        return 1.0 / self.config.sample_rate

    def output_lens(self, num_samples: Tensor) -> Tensor:
        return num_samples

    def compute(self, waveforms: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        return waveforms[..., None], lens

    def normalize(self, features: Tensor, lens: Tensor) -> Tensor:
        if not self.config.normalize:
            return features
        padding = padding_mask(lens, features.shape[1])[..., None]
        count = lens.clamp(min=1)[:, None, None].to(features.dtype)
        centred = features - features.masked_fill(padding, 0.0).sum(1, keepdim=True) / count
        variance = centred.masked_fill(padding, 0.0).square().sum(1, keepdim=True) / count
        return centred / torch.sqrt(variance + VARIANCE_FLOOR)
