"""What every front-end offers: the one way from a waveform to the features that a model sees.

Shapes: B batch, N samples, T feature frames, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from asr.errors import AudioError, ConfigError
from asr.lengths import padding_mask
from asr.registry import NamedConfig, Registry


class BaseFrontendConfig(NamedConfig):
    """What every front-end's configuration holds."""

    sample_rate: int = Field(default=16000, ge=1000)  # Hz


class FrontendStream(ABC):
    """The features of one recording whose samples arrive piece by piece; memory does not grow with its length.

    All pieces' features one after the other are those of `Frontend.forward` over the whole, wherever it was cut: within
    1e-9 in float64 and 1e-5 in float32, of the largest feature where that is above 1.
    """

    @abstractmethod
    def push(self, samples: np.ndarray | Tensor) -> Tensor:
        """Take the next samples (n,) in [-1, 1], n >= 0; return the features (t, F), t >= 0, that they complete.

        Raises AudioError for more than one dimension.
        """

    @abstractmethod
    def finish(self) -> Tensor:
        """Features (t, F) that had to wait for the end; nothing may be pushed afterwards."""


class Frontend(nn.Module, ABC):
    """Waveforms -> normalised features. Statistics are buffers, so they are saved with the model.

    A kind is one file: a config class, and a class with `frame_seconds`, `output_lens` and `compute`; `normalize`,
    `fit` and `stream` where it has them.
    """

    config: BaseFrontendConfig
    _like: Tensor

    def __init__(self, config: BaseFrontendConfig, num_features: int) -> None:
        super().__init__()
        self.config = config
        self.num_features = num_features
        self.register_buffer("_like", torch.zeros(()), persistent=False)  # knows dtype and device

    @property
    def sample_rate(self) -> int:
        """Hz; no other is accepted."""
        return self.config.sample_rate

    @property
    @abstractmethod
    def frame_seconds(self) -> float:
        """Seconds from one feature frame to the next."""

    @property
    def window_seconds(self) -> float | None:
        """Seconds of audio that one call takes at most, as Whisper's 30; None for any length."""
        return None

    @property
    def streams(self) -> bool:
        """Whether `stream` gives features before the end of the audio."""
        return False

    @property
    def needs_statistics(self) -> bool:
        """Whether `fit` has to be called, or statistics loaded, before the features are of use."""
        return False

    @abstractmethod
    def output_lens(self, num_samples: Tensor) -> Tensor:
        """Frames made of so many samples, int64 of the same shape; 0 for audio too short for one."""

    @abstractmethod
    def compute(self, waveforms: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        """Features before normalisation (B, T, F) and their lens (B,), T from N; without autocast.

        What stands beyond a length must not matter; what comes out beyond a length may be anything.
        """

    def normalize(self, features: Tensor, lens: Tensor) -> Tensor:
        """Normalise features (B, T, F) of lens (B,); what comes out beyond a length may be anything."""
        return features

    def forward(self, waveforms: Tensor, lens: Tensor, *, normalize: bool = True) -> tuple[Tensor, Tensor]:
        """Waveforms (B, N) in [-1, 1] and lens (B,) -> features (B, T, F), 0 beyond their lens, and lens (B,)."""
        with torch.autocast(waveforms.device.type, enabled=False):  # a logarithm in bfloat16 would lose the speech
            features, feature_lens = self.compute(waveforms, lens)
            if normalize:
                features = self.normalize(features, feature_lens)
        return features.masked_fill(padding_mask(feature_lens, features.shape[1])[..., None], 0.0), feature_lens

    def extract(self, waveform: np.ndarray | Tensor, sample_rate: int, *, normalize: bool = True) -> Tensor:
        """Features (T, F) of one waveform (num_samples,).

        Raises AudioError for another sample rate than the front-end's, and for more than one dimension.
        """
        if sample_rate != self.sample_rate:
            raise AudioError(
                f"audio of {sample_rate} Hz given, but the features need {self.sample_rate} Hz; resample it"
            )
        row = self.as_samples(waveform)[None]
        features, _ = self.forward(row, torch.tensor([row.shape[1]], device=row.device), normalize=normalize)
        return features[0]

    def fit(self, features: Iterable[Tensor]) -> None:
        """Take statistics from a corpus' features (T, F), extracted with `normalize=False`."""
        raise NotImplementedError(f"front-end '{self.config.name}' has no statistics")

    def stream(self) -> FrontendStream:
        """Start the features of a recording that is still going on; ConfigError unless `streams`."""
        raise ConfigError(
            f"front-end '{self.config.name}' needs the whole utterance and cannot stream; "
            "transcribe the recording when it is complete, or use another model"
        )

    def as_samples(self, waveform: np.ndarray | Tensor) -> Tensor:
        """A waveform (num_samples,) as a tensor of this front-end's type and device; AudioError for other shapes."""
        if waveform.ndim != 1:
            raise AudioError(f"a waveform of shape {tuple(waveform.shape)} given; one channel (num_samples,) is needed")
        return torch.as_tensor(waveform, dtype=self._like.dtype, device=self._like.device)


FRONTENDS: Registry[type[Any]] = Registry("front-end")
