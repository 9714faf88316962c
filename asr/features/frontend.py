"""The one way from a waveform to the features a model sees: feature extraction, then normalisation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from asr import features as kinds
from asr.errors import AudioError
from asr.features.base import FEATURES, FeatureExtractor
from asr.features.cmvn import Cmvn, CmvnKind, FeatureStatistics
from asr.features.fbank import FbankConfig
from asr.lengths import padding_mask
from asr.registry import Config, NamedConfig, import_siblings

import_siblings(kinds.__name__, kinds.__path__)
if TYPE_CHECKING:
    AnyFeatureConfig = NamedConfig
else:
    AnyFeatureConfig = FEATURES.config_union()


class FrontendConfig(Config):
    """Which features, and how they are normalised."""

    features: AnyFeatureConfig = FbankConfig()
    cmvn: CmvnKind = "global"


class Frontend(nn.Module):
    """Waveforms -> normalised features. The statistics are buffers, so they are saved with the model.

    Shapes: B batch, N samples, T feature frames, F features.
    """

    def __init__(self, config: FrontendConfig) -> None:
        super().__init__()
        self.config = config
        self.extractor: FeatureExtractor = FEATURES.part(config.features.name)(config.features)
        self.cmvn = Cmvn(config.cmvn, self.extractor.num_features)

    @property
    def sample_rate(self) -> int:
        """Hz; no other is accepted."""
        return self.extractor.config.sample_rate

    @property
    def num_features(self) -> int:
        """F."""
        return self.extractor.num_features

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame to the next."""
        return self.extractor.config.frame_shift / self.sample_rate

    @property
    def needs_statistics(self) -> bool:
        """Whether `fit_cmvn` has to be called before the features are of use."""
        return self.config.cmvn == "global"

    def output_lens(self, num_samples: Tensor) -> Tensor:
        """Frames made of so many samples; 0 for audio shorter than a window."""
        return self.extractor.output_lens(num_samples)

    def forward(self, waveforms: Tensor, lens: Tensor, *, normalize: bool = True) -> tuple[Tensor, Tensor]:
        """Waveforms (B, N) in [-1, 1] and lens (B,) -> features (B, T, F), 0 beyond their lens, and lens (B,)."""
        with torch.autocast(waveforms.device.type, enabled=False):  # a logarithm in bfloat16 would lose the speech
            features, feature_lens = self.extractor(waveforms, lens)
            if normalize:
                features = self.cmvn(features, feature_lens)
        return features.masked_fill(padding_mask(feature_lens, features.shape[1])[..., None], 0.0), feature_lens

    def extract(self, waveform: np.ndarray | Tensor, sample_rate: int, *, normalize: bool = True) -> Tensor:
        """Features (T, F) of one waveform (num_samples,).

        Raises AudioError for another sample rate than the front-end's, and for more than one dimension.
        """
        if sample_rate != self.sample_rate:
            raise AudioError(
                f"audio of {sample_rate} Hz given, but the features need {self.sample_rate} Hz; resample it"
            )
        if waveform.ndim != 1:
            raise AudioError(f"a waveform of shape {tuple(waveform.shape)} given; one channel (num_samples,) is needed")
        row = torch.as_tensor(waveform, dtype=self.extractor.window.dtype, device=self.extractor.window.device)[None]
        features, _ = self.forward(row, torch.tensor([row.shape[1]], device=row.device), normalize=normalize)
        return features[0]

    def fit_cmvn(self, features: Iterable[Tensor]) -> None:
        """Take global statistics from a corpus' features (T, F), extracted with `normalize=False`."""
        statistics = FeatureStatistics(self.num_features)
        for utterance in features:
            statistics.add(utterance)
        self.cmvn.fit(statistics)
