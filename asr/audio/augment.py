"""Changing a waveform while training: speed, echoes, noise and gain, all drawn from the generator that is passed in.

Speed perturbation is resampling, so tempo and pitch change together: Ko et al., "Audio augmentation for speech
recognition", Interspeech 2015.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from asr.audio.io import AUDIO_SUFFIXES, audio_info, load_audio
from asr.audio.ranges import DecibelRange, in_order
from asr.audio.resample import resample
from asr.audio.reverb import ReverbConfig, add_echoes, draw_tail
from asr.errors import AudioError, TrainingError
from asr.registry import Config

SPEED_STEP = 0.01  # of drawn speeds: resampling between rates without a common factor costs up to ten times as much
NOISE_PROBE = 0.2  # seconds at the end of a long noise file that are read to see whether it is whole
NOISE_READ_WHOLE = 600.0  # seconds of noise that are read from start to end before training, file after file
MAX_SLOPE = 2.0  # of synthesised noise: power falls with 1 / f ** slope, from white (0) over pink (1) to brown (2)
Speed = Annotated[float, Field(ge=0.5, le=2.0)]


class NoiseConfig(Config):
    """Noise added at a signal-to-noise ratio."""

    files: tuple[str, ...] = ()  # audio files, folders searched through, or globs; none: noise of a random colour
    snr_db: DecibelRange = (10.0, 30.0)  # uniform between the two
    probability: float = Field(default=0.5, ge=0, le=1)  # of adding any


class AugmentConfig(Config):
    """What may happen to a waveform; nothing by default."""

    speeds: tuple[Speed, ...] = ()  # one of these factors, equally likely; 1.0 must be among them to happen
    speed_range: Annotated[tuple[Speed, Speed], AfterValidator(in_order)] | None = None  # or uniform between two
    gain_db: DecibelRange | None = None  # uniform between the two
    reverb: ReverbConfig | None = None
    noise: NoiseConfig | None = None

    @model_validator(mode="after")
    def _check_speeds(self) -> Self:
        if self.speeds and self.speed_range:
            raise ValueError("speeds and speed_range exclude each other; keep one")
        return self


class WaveformAugment:
    """Applies speed, then echoes, then noise, then gain to waveforms of one sample rate.

    Raises AudioError when noise files are asked for and none is found, and TrainingError for one that cannot be used.
    """

    def __init__(self, config: AugmentConfig, sample_rate: int) -> None:
        self.config = config
        self.sample_rate = sample_rate
        self._noise_files = find_audio(config.noise.files) if config.noise and config.noise.files else ()

    @property
    def max_stretch(self) -> float:
        """The most a waveform's length can be multiplied by (at the slowest speed)."""
        return 1.0 / min(self.config.speeds or self.config.speed_range or (1.0,))

    @property
    def min_stretch(self) -> float:
        """The least a waveform's length can be multiplied by (at the fastest speed)."""
        return 1.0 / max(self.config.speeds or self.config.speed_range or (1.0,))

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A changed (num_samples,) float32 waveform, its length divided by the speed. Loud ones may exceed [-1, 1]."""
        waveform = change_speed(waveform, self._draw_speed(rng), self.sample_rate)
        reverb, noise = self.config.reverb, self.config.noise
        if reverb is not None and rng.random() < reverb.probability:
            waveform = add_echoes(waveform, draw_tail(reverb, self.sample_rate, rng))
        if noise is not None and len(waveform) and rng.random() < noise.probability:
            sound = self._noise_from_files(len(waveform), rng) if noise.files else coloured_noise(len(waveform), rng)
            waveform = add_noise(waveform, sound, rng.uniform(*noise.snr_db))
        if self.config.gain_db is not None:
            waveform = waveform * np.float32(10 ** (rng.uniform(*self.config.gain_db) / 20))
        return waveform

    def _draw_speed(self, rng: np.random.Generator) -> float:
        if self.config.speeds:
            return self.config.speeds[rng.integers(len(self.config.speeds))]
        if self.config.speed_range:
            low, high = self.config.speed_range
            return float(np.clip(round(rng.uniform(low, high) / SPEED_STEP) * SPEED_STEP, low, high))
        return 1.0

    def check_noise(self) -> None:
        """Read the noise files; AudioError that names those which cannot be used.

        The first NOISE_READ_WHOLE seconds are read in full, of files beyond them the end.
        """
        faults = []
        left = NOISE_READ_WHOLE
        for path in self._noise_files:
            try:
                duration = audio_info(path).duration
                left -= duration
                start = 0.0 if left >= 0 else max(0.0, duration - NOISE_PROBE)
                load_audio(path, self.sample_rate, start=start, duration=None if left >= 0 else NOISE_PROBE)
            except AudioError as error:
                faults.append(str(error))
        if faults:
            more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
            raise AudioError(f"noise.files: {'; '.join(faults[:3])}{more}; repair or remove what cannot be used")

    def _noise_from_files(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        """A random stretch of a random file, or the whole of a short one over and over from a random place on."""
        path = self._noise_files[rng.integers(len(self._noise_files))]
        place = rng.random()
        try:
            return self._stretch_of(path, place, num_samples)
        except AudioError as error:
            # No AudioError: that would leave out the utterance, which is as good as any.
            raise TrainingError(f"noise.files: {error}; repair or remove it, then go on with --resume") from error

    def _stretch_of(self, path: Path, place: float, num_samples: int) -> np.ndarray:
        spare = audio_info(path).duration - num_samples / self.sample_rate
        if spare > 0:
            noise = load_audio(path, self.sample_rate, start=place * spare, duration=num_samples / self.sample_rate)
        else:
            noise = load_audio(path, self.sample_rate)
            noise = np.roll(noise, int(place * len(noise)))
        return np.resize(noise, num_samples)


def change_speed(waveform: np.ndarray, speed: float, sample_rate: int) -> np.ndarray:
    """Play a waveform `speed` times as fast: num_samples / speed samples, higher in pitch above 1."""
    return resample(waveform, round(sample_rate * speed), sample_rate)


def coloured_noise(num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise whose power falls with frequency, by a random slope between white and brown."""
    slope = rng.uniform(0.0, MAX_SLOPE)
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1.0) ** (slope / 2)
    return np.fft.irfft(spectrum, n=num_samples).astype(np.float32)


def add_noise(waveform: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """The sum of two equally long waveforms, the noise scaled to lie `snr_db` below the waveform in mean power.

    A silent waveform stays silent, and silent noise changes nothing: no scale gives either the ratio.
    """
    power, noise_power = (float(np.mean(np.square(signal, dtype=np.float64))) for signal in (waveform, noise))
    if not power or not noise_power:
        return waveform
    return waveform + noise * np.float32(np.sqrt(power / noise_power) * 10 ** (-snr_db / 20))


def find_audio(places: tuple[str, ...]) -> tuple[Path, ...]:
    """Audio files named by files, folders (searched through) and globs, sorted and without repeats.

    Raises AudioError for a place that leads to none.
    """
    found: set[Path] = set()
    for place in places:
        path = Path(place)
        if path.is_file():
            here = [path]
        elif path.is_dir():
            here = [file for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES]
        else:
            here = [file for file in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if file.is_file()]
        if not here:
            raise AudioError(f"{place}: leads to no audio file; correct noise.files")
        found.update(here)
    return tuple(sorted(found))
