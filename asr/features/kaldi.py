"""What Kaldi's kinds of features share: framing, windowed spectra, mel bands and their normalisation.

Shapes: B batch, N samples, T feature frames, W samples of a window, K frequency bins of a spectrum, F features.
The definitions are Kaldi's (feature-window.cc), computed for a whole batch at once; there is no dither, so the
same audio gives the same features, and digital silence gives the logarithm of the smallest float32 step.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from asr.features.base import BaseFrontendConfig, Frontend, FrontendStream
from asr.features.cmvn import Cmvn, CmvnKind, FeatureStatistics
from asr.features.level import LevelConfig, RunningLevel, utterance_gains

WindowType = Literal["povey", "hanning", "hamming", "blackman", "sine", "rectangular"]
LOG_FLOOR = torch.finfo(torch.float32).eps  # Kaldi's floor of energies before the logarithm
CHUNK_FRAMES = 256  # as many frames at once for each core stay in its cache: twice as fast as all at once
FULL_SCALE = 32768.0  # Kaldi counts in 16-bit steps


class KaldiConfig(BaseFrontendConfig):
    """How a waveform is cut into frames and its spectrum into mel bands; the names and defaults are Kaldi's."""

    num_mel_bins: int = Field(default=23, ge=3)
    frame_length_ms: float = Field(default=25.0, gt=0)
    frame_shift_ms: float = Field(default=10.0, gt=0)
    low_freq: float = Field(default=20.0, ge=0)  # Hz
    high_freq: float = 0.0  # Hz; 0 or less: so far below half the sample rate
    preemphasis: float = Field(default=0.97, ge=0, le=1)
    window_type: WindowType = "povey"
    remove_dc_offset: bool = True
    snip_edges: bool = True  # only windows that fit; False: one frame a shift, edges reflected
    use_energy: bool = False  # the frame's log energy, as an extra feature 0 (fbank) or in place of C0 (mfcc)
    raw_energy: bool = True  # that energy before pre-emphasis and window, or after
    energy_floor: float = Field(default=0.0, ge=0)  # of that energy, in squared 16-bit steps; 0: none
    cmvn: CmvnKind = "global"  # mean 0 and deviation 1 over the training corpus, over each utterance, or neither
    level: LevelConfig | None = None  # to which speech is brought before all else; null: audio as loud as it comes

    @property
    def frame_length(self) -> int:
        """Samples of one window."""
        return int(self.sample_rate * self.frame_length_ms * 0.001)

    @property
    def frame_shift(self) -> int:
        """Samples from one frame to the next."""
        return int(self.sample_rate * self.frame_shift_ms * 0.001)

    @property
    def first_sample(self) -> int:
        """Where the first window begins: at 0, or where the middle of the window is the middle of the shift."""
        return 0 if self.snip_edges else self.frame_shift // 2 - self.frame_length // 2

    @property
    def fft_size(self) -> int:
        """The window, padded to a power of two."""
        return 1 << (self.frame_length - 1).bit_length()

    @property
    def top_freq(self) -> float:
        """Upper edge of the highest mel band, Hz."""
        return self.high_freq if self.high_freq > 0 else self.sample_rate / 2 + self.high_freq

    @classmethod
    def tiny(cls) -> Self:
        """Few bands of audio at a low rate."""
        return cls.model_validate({"sample_rate": 2000, "num_mel_bins": 13})

    @model_validator(mode="after")
    def _check_bands(self) -> Self:
        if self.frame_length < 2 or self.frame_shift < 1:
            raise ValueError("frame_length_ms needs at least two samples, frame_shift_ms at least one")
        if not self.low_freq < self.top_freq <= self.sample_rate / 2:
            bands = f"mel bands from {self.low_freq:g} to {self.top_freq:g} Hz"
            raise ValueError(f"{bands} do not lie between 0 and half the sample rate of {self.sample_rate} Hz")
        return self


class KaldiFrontend(Frontend):
    """A kind of features is a subclass that says what becomes of a windowed spectrum."""

    config: KaldiConfig
    window: Tensor

    def __init__(self, config: KaldiConfig, num_features: int) -> None:
        super().__init__(config, num_features)
        self.register_buffer("window", _window(config.window_type, config.frame_length), persistent=False)
        self.cmvn = Cmvn(config.cmvn, num_features)

    @property
    def frame_seconds(self) -> float:
        return self.config.frame_shift / self.sample_rate

    @property
    def streams(self) -> bool:
        return self.config.cmvn != "utterance" and (self.config.level is None or self.config.level.over == "running")

    @property
    def needs_statistics(self) -> bool:
        return self.config.cmvn == "global"

    def output_lens(self, num_samples: Tensor) -> Tensor:
        """Frames made of so many samples; 0 for less than one window (of half a shift where edges are reflected)."""
        if self.config.snip_edges:
            frames = 1 + (num_samples - self.config.frame_length).div(self.config.frame_shift, rounding_mode="floor")
            return frames.clamp(min=0)
        return (num_samples + self.config.frame_shift // 2) // self.config.frame_shift

    def compute(self, waveforms: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        frames, feature_lens = self._frames(waveforms * FULL_SCALE, lens), self.output_lens(lens)
        gains = None
        if self.config.level is not None:
            powers_BT = self.powers_of(frames)
            if self.config.level.over == "utterance":
                gains = utterance_gains(powers_BT, feature_lens, self.config.level).expand_as(powers_BT)
            else:
                gains = RunningLevel(self.config.level, len(frames)).gains(powers_BT)
        return self.features_of(frames, gains), feature_lens

    def normalize(self, features: Tensor, lens: Tensor) -> Tensor:
        normalized: Tensor = self.cmvn(features, lens)
        return normalized

    def fit(self, features: Iterable[Tensor]) -> None:
        """Take the corpus' mean and deviation, for `cmvn: global`, from features (T, F) before normalisation."""
        statistics = FeatureStatistics(self.num_features)
        for utterance in features:
            statistics.add(utterance)
        self.cmvn.fit(statistics)

    def stream(self) -> FrontendStream:
        """Start the features of a recording that is still going on; ConfigError for what needs the whole utterance."""
        return KaldiStream(self) if self.streams else super().stream()

    @abstractmethod
    def from_spectrum(self, power_BTK: Tensor, log_energy_BT: Tensor | None) -> Tensor:
        """Features (B, T, F) of power spectra; the log energy is given where the config asks for it."""

    def features_of(self, frames_BTW: Tensor, gains_BT: Tensor | None = None) -> Tensor:
        """Features (B, T, F), before normalisation, of windows in 16-bit steps, each times its gain."""
        num_rows, num_frames = frames_BTW.shape[:2]
        if not num_rows * num_frames:
            return frames_BTW.new_zeros(num_rows, num_frames, self.num_features)
        chunks = self._chunks(frames_BTW)
        if gains_BT is not None:
            gains = gains_BT.to(frames_BTW.dtype)[..., None].split(chunks[0].shape[1], dim=1)
            return torch.cat([self._features(chunk * gain) for chunk, gain in zip(chunks, gains, strict=True)], dim=1)
        return torch.cat([self._features(chunk) for chunk in chunks], dim=1)

    def powers_of(self, frames_BTW: Tensor) -> Tensor:
        """Mean squares (B, T) float64 of windows in 16-bit steps without their mean, relative to full scale."""
        if not frames_BTW.shape[1]:
            return frames_BTW.new_zeros(frames_BTW.shape[:2], dtype=torch.float64)
        chunks = self._chunks(frames_BTW)
        return torch.cat([chunk.double().var(dim=-1, correction=0) for chunk in chunks], dim=1) / FULL_SCALE**2

    def _chunks(self, frames_BTW: Tensor) -> tuple[Tensor, ...]:
        """As many windows of all rows at once as the processor's caches hold; all of them on a GPU."""
        num_rows, num_frames = frames_BTW.shape[:2]
        cached = CHUNK_FRAMES * torch.get_num_threads()
        at_once = max(1, cached // num_rows) if frames_BTW.device.type == "cpu" else num_frames
        chunks: tuple[Tensor, ...] = frames_BTW.split(at_once, dim=1)
        return chunks

    def _frames(self, waveforms: Tensor, lens: Tensor) -> Tensor:
        """(B, T, W), a view of the waveforms, or of the waveforms with reflected edges."""
        length, shift = self.config.frame_length, self.config.frame_shift
        num_frames = int(self.output_lens(torch.tensor(waveforms.shape[1])))
        if not num_frames:
            return waveforms.new_zeros(len(waveforms), 0, length)
        if not self.config.snip_edges:
            first = self.config.first_sample
            position = torch.arange(first, first + (num_frames - 1) * shift + length, device=waveforms.device)
            waveforms = waveforms.gather(1, _reflected(position, lens.clamp(min=1)[:, None]))
        return waveforms.unfold(1, length, shift)

    def _features(self, frames: Tensor) -> Tensor:
        if self.config.remove_dc_offset:
            frames = frames - frames.mean(dim=-1, keepdim=True)
        windowed = frames * self.window
        windowed[..., 1:].addcmul_(frames[..., :-1], self.window[1:], value=-self.config.preemphasis)
        windowed[..., 0] *= 1 - self.config.preemphasis
        log_energy = None
        if self.config.use_energy:
            energy = (frames if self.config.raw_energy else windowed).square().sum(dim=-1)
            log_energy = energy.clamp(min=max(LOG_FLOOR, self.config.energy_floor)).log()
        # a float32 transform rounds loud bins by more than quiet ones hold: 0.04 off in the log, 0.006 in float64
        spectrum = torch.fft.rfft(windowed.double(), n=self.config.fft_size)
        power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
        return self.from_spectrum(power.to(windowed.dtype), log_energy)


class KaldiStream(FrontendStream):
    """Frames as soon as their windows are complete; the samples kept are those of about one window and one shift."""

    def __init__(self, frontend: KaldiFrontend) -> None:
        self._frontend = frontend
        self._config = frontend.config
        self._kept = frontend.as_samples(np.zeros(0, dtype=np.float32))  # in 16-bit steps
        self._start = 0  # the sample that `_kept` begins with
        self._num_frames = 0  # given so far
        self._level = RunningLevel(self._config.level, 1) if self._config.level is not None else None
        self._is_finished = False

    def push(self, samples: np.ndarray | Tensor) -> Tensor:
        assert not self._is_finished, "a finished stream takes no more samples"
        self._kept = torch.cat((self._kept, self._frontend.as_samples(samples) * FULL_SCALE))
        behind = self._start + len(self._kept) - self._config.first_sample - self._config.frame_length
        return self._frames_to(1 + behind // self._config.frame_shift)

    def finish(self) -> Tensor:
        assert not self._is_finished, "a stream ends once"
        self._is_finished = True
        return self._frames_to(int(self._frontend.output_lens(torch.tensor(self._start + len(self._kept)))))

    def _frames_to(self, end: int) -> Tensor:
        """The features of frames up to `end`, normalised; then what no later frame needs is dropped."""
        length, shift = self._config.frame_length, self._config.frame_shift
        count = end - self._num_frames
        if count <= 0:
            return self._kept.new_zeros(0, self._frontend.num_features)
        first = self._config.first_sample + self._num_frames * shift
        position = torch.arange(first, first + (count - 1) * shift + length, device=self._kept.device)
        if not self._config.snip_edges:
            position = _reflected(position, self._start + len(self._kept))
        frames = self._kept[position - self._start].unfold(0, length, shift)
        with torch.autocast(frames.device.type, enabled=False):
            gains = self._level.gains(self._frontend.powers_of(frames[None])) if self._level is not None else None
            features = self._frontend.features_of(frames[None], gains)
            features = self._frontend.normalize(features, torch.tensor([count], device=features.device))[0]
        self._num_frames = end
        # the reflection of a last window that is half complete begins one sample before it where its length is odd
        dropped = max(0, min(first + count * shift - 1 - self._start, len(self._kept)))
        self._start += dropped
        self._kept = self._kept[dropped:].clone()
        return features


def mel_filterbank(config: KaldiConfig) -> Tensor:
    """Triangular mel bands (K, num_mel_bins) over the K = fft_size / 2 + 1 bins of a spectrum.

    A band so narrow that no bin falls into it stays empty: its feature is the floor, always.
    """
    bin_mel = _mel(torch.arange(config.fft_size // 2 + 1, dtype=torch.float64) * config.sample_rate / config.fft_size)
    low, high = _mel(torch.tensor([config.low_freq, config.top_freq], dtype=torch.float64)).tolist()
    edges = torch.linspace(low, high, config.num_mel_bins + 2, dtype=torch.float64)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bin_mel[:, None] - left) / (centre - left)
    falling = (right - bin_mel[:, None]) / (right - centre)
    bands = torch.minimum(rising, falling).clamp(min=0)
    bands[-1] = 0  # Kaldi leaves out the bin at half the sample rate
    return bands.float()


def _reflected(position: Tensor, num_samples: Tensor | int) -> Tensor:
    """Sample numbers, there and back at both ends as often as needed: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    period = 2 * num_samples
    position = position.remainder(period)
    return torch.minimum(position, period - 1 - position)


def _mel(frequency: Tensor) -> Tensor:
    return 1127.0 * (1.0 + frequency / 700.0).log()


def _window(kind: WindowType, length: int) -> Tensor:
    turn = 2 * math.pi * torch.arange(length, dtype=torch.float64) / (length - 1)
    match kind:
        case "povey":
            window = (0.5 - 0.5 * turn.cos()) ** 0.85
        case "hanning":
            window = 0.5 - 0.5 * turn.cos()
        case "hamming":
            window = 0.54 - 0.46 * turn.cos()
        case "blackman":
            window = 0.42 - 0.5 * turn.cos() + 0.08 * (2 * turn).cos()
        case "sine":
            window = (0.5 * turn).sin()
        case "rectangular":
            window = torch.ones_like(turn)
    return window.float()
