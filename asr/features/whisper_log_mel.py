"""Whisper's log-mel features (Radford et al. 2022, section 2.2), over each utterance's own length and some silence.

Whisper was trained on windows of 30 s whose end is silence. Here every row is given its own length plus `tail_seconds`
of zeros, at least `min_seconds` and at most `window_seconds` in all: the encoder works on what there is to hear.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from asr.errors import AudioError
from asr.features.base import FRONTENDS, BaseFrontendConfig, Frontend
from asr.lengths import padding_mask

MEL_FLOOR = 1e-10
RANGE = 8.0  # decades below an utterance's loudest value at which all values end
BREAK_HZ = 1000.0  # Slaney's scale is linear up to here, logarithmic beyond
HZ_A_MEL = 200 / 3
LOG_STEP = math.log(6.4) / 27


class WhisperLogMelConfig(BaseFrontendConfig):
    """Windows of 25 ms every 10 ms; 80 bands, 128 in large-v3 and what came after it."""

    name: Literal["whisper_log_mel"] = "whisper_log_mel"
    num_mel_bins: int = Field(default=80, ge=1)
    tail_seconds: float = Field(default=4.0, ge=0)  # of silence after each utterance; 30 gives Whisper's full windows
    min_seconds: float = Field(default=5.0, gt=0)  # utterance and silence together
    window_seconds: float = Field(default=30.0, gt=0)  # at most that

    @model_validator(mode="after")
    def _fits(self) -> WhisperLogMelConfig:
        if self.min_seconds > self.window_seconds:
            raise ValueError(f"min_seconds {self.min_seconds} must not exceed window_seconds {self.window_seconds}")
        return self

    @classmethod
    def tiny(cls) -> WhisperLogMelConfig:
        return cls(sample_rate=1000, num_mel_bins=4, tail_seconds=0.2, min_seconds=0.3)


@FRONTENDS.register(WhisperLogMelConfig)
class WhisperLogMel(Frontend):
    """(B, N) -> (B, T, num_mel_bins), from about -1 to 2; the loudest value is that of each row by itself."""

    config: WhisperLogMelConfig
    window: Tensor
    mel: Tensor

    def __init__(self, config: WhisperLogMelConfig) -> None:
        super().__init__(config, config.num_mel_bins)
        self._size = config.sample_rate // 40  # samples of a window
        self._shift = config.sample_rate // 100
        self.register_buffer("window", torch.hann_window(self._size), persistent=False)
        mel = slaney_filterbank(config.num_mel_bins, self._size, config.sample_rate)
        self.register_buffer("mel", mel.float(), persistent=False)

    @property
    def frame_seconds(self) -> float:
        return self._shift / self.config.sample_rate

    @property
    def window_seconds(self) -> float:
        return self.config.window_seconds

    def output_lens(self, num_samples: Tensor) -> Tensor:
        """Those of the silence included; 0 for no samples."""
        tail, least, most = (self._samples(seconds) for seconds in self._limits)
        frames = (num_samples + tail).clamp(least, most) // self._shift
        return frames.masked_fill(num_samples <= 0, 0)

    def compute(self, waveforms: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        feature_lens = self.output_lens(lens)
        most = self._samples(self.config.window_seconds)
        num_frames = int(self.output_lens(torch.tensor(waveforms.shape[1])))
        if num_frames == 0:
            return waveforms.new_zeros(len(lens), 0, self.num_features), feature_lens
        heard = waveforms.masked_fill(padding_mask(lens, waveforms.shape[1]), 0.0)[:, :most]
        half = self._size // 2
        needed = max((num_frames - 1) * self._shift + self._size - half, half + 1)
        heard = F.pad(heard, (0, max(0, needed - heard.shape[1])))
        heard = torch.cat([heard[:, 1 : half + 1].flip(1), heard], dim=1)  # its beginning mirrored, silence at its end
        frames = heard.unfold(1, self._size, self._shift)[:, :num_frames]
        power = torch.fft.rfft(frames * self.window).abs().square()
        bands = (power @ self.mel).clamp(min=MEL_FLOOR).log10()
        padding = padding_mask(feature_lens, num_frames)[..., None]
        loudest = bands.masked_fill(padding, -math.inf).flatten(1).amax(1)
        return (bands.maximum((loudest - RANGE)[:, None, None]) + 4.0) / 4.0, feature_lens

    def extract(self, waveform: np.ndarray | Tensor, sample_rate: int, *, normalize: bool = True) -> Tensor:
        """See `Frontend`. AudioError, too, for audio longer than `window_seconds`."""
        if len(waveform) > self._samples(self.config.window_seconds) and waveform.ndim == 1:
            seconds = len(waveform) / self.config.sample_rate
            raise AudioError(
                f"audio of {seconds:.1f} s given, but the model takes {self.config.window_seconds:g} s at most; cut it"
            )
        return super().extract(waveform, sample_rate, normalize=normalize)

    @property
    def _limits(self) -> tuple[float, float, float]:
        return self.config.tail_seconds, self.config.min_seconds, self.config.window_seconds

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.config.sample_rate)


def slaney_filterbank(num_bins: int, size: int, sample_rate: int) -> Tensor:
    """Triangles (size // 2 + 1, num_bins) float64 of area 1, evenly on Slaney's scale up to half the sample rate.

    Slaney 1998, "Auditory toolbox", version 2, Interval Research report 1998-010.
    """
    frequencies = torch.arange(size // 2 + 1, dtype=torch.float64) * (sample_rate / size)
    edges = torch.linspace(0.0, _mel(sample_rate / 2), num_bins + 2, dtype=torch.float64)
    edges = torch.where(
        edges < BREAK_HZ / HZ_A_MEL,
        edges * HZ_A_MEL,
        BREAK_HZ * ((edges - BREAK_HZ / HZ_A_MEL) * LOG_STEP).exp(),
    )
    low, peak, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, None] - low) / (peak - low)
    falling = (high - frequencies[:, None]) / (high - peak)
    return torch.minimum(rising, falling).clamp(min=0.0) * (2.0 / (high - low))


def _mel(frequency: float) -> float:
    if frequency < BREAK_HZ:
        return frequency / HZ_A_MEL
    return BREAK_HZ / HZ_A_MEL + math.log(frequency / BREAK_HZ) / LOG_STEP
