"""What the samples of an audio file say about the rows that lie in it, measured while it is decoded block by block."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.audio.io import audio_info, read_blocks
from asr.errors import (
    AudioError,
    AudioWarning,
    NonFiniteAudioError,
    OppositePhasesWarning,
    OutOfRangeAudioError,
    TruncatedAudioError,
    UnscaledAudioWarning,
)
from asr.types import Utterance

FRAME = 0.02  # seconds; loudness is measured in frames of this length
BLOCK = 30.0  # seconds decoded at once
FLOOR = 1e-12  # power of a frame of zeros; -120 dB
FLAT = 0.9999  # of the peak: samples above count as cut off there
LONGEST = 1e7  # seconds; larger numbers in a manifest mean the same and would overflow

Doubts = tuple[tuple[str, str], ...]  # codes of warnings, each with its reason


@dataclass(frozen=True)
class Stretch:
    """The part of a file that a row stands for."""

    row: int  # whatever the caller counts by
    start: float  # seconds
    duration: float  # seconds, as the manifest says
    whole: bool = False  # the row is the whole file, whatever its duration

    def bounds(self, sample_rate: int) -> tuple[int, float]:
        """First sample and the one after the last, infinite for a whole file; the file may end before."""
        begin = round(min(self.start, LONGEST) * sample_rate)
        length = max(1, round(min(self.duration, LONGEST) * sample_rate))
        return begin, math.inf if self.whole else begin + length


@dataclass(frozen=True)
class AudioFile:
    """A file to decode, and the stretches of it that are asked about."""

    path: Path
    stretches: tuple[Stretch, ...]

    @property
    def seconds(self) -> float:
        """How much is to be decoded, going by the manifest."""
        return sum(stretch.duration for stretch in self.stretches)


@dataclass(frozen=True)
class Measurement:
    """What was measured of one stretch; channels are averaged, as in training."""

    sample_rate: int  # Hz, of the file
    num_channels: int
    num_samples: int  # of the stretch; 0 if the file ends before it
    file_seconds: float
    peak: float  # largest magnitude; 1 is full scale
    loudest: float  # dB of full scale, the loudest frame of 20 ms
    rise: float  # dB from the 10th percentile of all frames to the loudest
    clipped: float  # share of samples, 0..1, that lie in flat tops
    digest: bytes  # of rate and samples: equal for equal audio in whatever lossless container
    doubts: Doubts = ()  # about the whole file

    @property
    def seconds(self) -> float:
        """Length of the stretch."""
        return self.num_samples / self.sample_rate


@dataclass(frozen=True)
class AudioFault:
    """Why a stretch could not be measured."""

    code: str
    reason: str


def audio_files(rows: Iterable[tuple[int, Utterance]]) -> list[AudioFile]:
    """Each audio file of numbered rows once. A row that starts at 0 and shares its file with no other is all of it."""
    by_path: dict[Path, list[tuple[int, Utterance]]] = defaultdict(list)
    for number, row in rows:
        by_path[row.audio].append((number, row))
    return [
        AudioFile(
            path,
            tuple(
                Stretch(number, row.start, row.duration, whole=len(those) == 1 and row.start == 0)
                for number, row in those
            ),
        )
        for path, those in by_path.items()
    ]


def examine(audio_file: AudioFile) -> list[tuple[int, Measurement | AudioFault]]:
    """Every stretch by its row. Never raises: a fault of the file is that of each stretch not read to its end."""
    meters: list[_Meter] = []
    try:
        if not audio_file.path.exists():
            return [
                (one.row, AudioFault("missing", f"{audio_file.path} does not exist")) for one in audio_file.stretches
            ]
        info = audio_info(audio_file.path)
        meters = [_Meter(stretch, info.sample_rate) for stretch in audio_file.stretches]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AudioWarning)
            fault, num_samples = _measure(audio_file.path, info.sample_rate, meters)
        doubts = _doubts(audio_file.path, caught)
        num_samples = num_samples or info.num_samples
    except Exception as error:  # whatever a decoder stumbles over, the other files still have to be checked
        fault = _audio_fault(audio_file.path, error)
        return [(stretch.row, fault) for stretch in audio_file.stretches]
    seconds = num_samples / info.sample_rate
    return [
        (
            meter.stretch.row,
            fault if fault and not meter.done else meter.measurement(info.num_channels, seconds, doubts),
        )
        for meter in meters
    ]


def _measure(path: Path, sample_rate: int, meters: Sequence[_Meter]) -> tuple[AudioFault | None, int | None]:
    """Give each meter its samples. The fault that ended the reading, and the length if the end was reached."""
    end = max(meter.end for meter in meters)
    position = 0
    try:
        for block in read_blocks(path, sample_rate, BLOCK):
            for meter in meters:
                last = min(meter.end, position + len(block))
                meter.add(block[max(0, meter.begin - position) : max(0, int(last) - position)])
            position += len(block)
            for meter in meters:
                meter.done = position >= meter.end
            if position >= end:
                return None, None
    except AudioError as error:
        return _audio_fault(path, error), None
    return None, position


class _Meter:
    """Measures one stretch of a file whose blocks it is given in order."""

    def __init__(self, stretch: Stretch, sample_rate: int) -> None:
        self.stretch = stretch
        self.sample_rate = sample_rate
        self.begin, self.end = stretch.bounds(sample_rate)
        self.done = False
        self._num_samples = 0
        self._peak = 0.0
        self._flat = 0
        self._power: list[np.ndarray] = []
        self._hash = hashlib.blake2b(str(sample_rate).encode(), digest_size=16)

    def add(self, samples: np.ndarray) -> None:
        """Take in the next samples (N,) of the stretch; none is fine."""
        if not len(samples):
            return
        self._num_samples += len(samples)
        self._hash.update((samples + np.float32(0)).tobytes())  # -0.0 becomes 0.0
        self._count_flat(np.abs(samples))
        size = min(len(samples), max(1, round(FRAME * self.sample_rate)))
        frames = samples[: len(samples) // size * size].reshape(-1, size)
        self._power.append(np.einsum("nk,nk->n", frames, frames, dtype=np.float64) / size)

    def _count_flat(self, magnitudes: np.ndarray) -> None:
        """Count samples in flat tops: three or more in a row at the peak of the stretch, or at full scale."""
        peak = float(magnitudes.max())
        if self._peak < min(peak, 1.0) * FLAT:
            self._flat = 0  # what was flat so far lies below the new peak
        self._peak = max(self._peak, peak)
        high = magnitudes >= min(self._peak, 1.0) * FLAT
        middles = high[:-2] & high[1:-1] & high[2:]
        runs = int(np.count_nonzero(middles[1:] & ~middles[:-1])) + int(middles[:1].sum())
        self._flat += int(np.count_nonzero(middles)) + 2 * runs

    def measurement(self, num_channels: int, file_seconds: float, doubts: Doubts) -> Measurement:
        """The result, once all samples were added."""
        power = np.concatenate(self._power) if self._power else np.zeros(1)
        level = 10 * np.log10(np.maximum(power, FLOOR))
        return Measurement(
            sample_rate=self.sample_rate,
            num_channels=num_channels,
            num_samples=self._num_samples,
            file_seconds=file_seconds,
            peak=self._peak,
            loudest=float(level.max()),
            rise=float(level.max() - np.percentile(level, 10)),
            clipped=self._flat / max(1, self._num_samples),
            digest=self._hash.digest(),
            doubts=doubts,
        )


def _doubts(path: Path, caught: Sequence[warnings.WarningMessage]) -> Doubts:
    """Codes and reasons of the warnings that reading a file gave."""
    codes: dict[type[Warning], str] = {UnscaledAudioWarning: "unscaled", OppositePhasesWarning: "opposite_phases"}
    return tuple(
        (codes[one.category], str(one.message).removeprefix(f"{path}: ")) for one in caught if one.category in codes
    )


def _audio_fault(path: Path, error: Exception) -> AudioFault:
    reason = str(error).removeprefix(f"{path}: ") or type(error).__name__
    if not isinstance(error, AudioError):
        return AudioFault("unreadable", " ".join(f"cannot be decoded ({reason})".split()))
    if isinstance(error, NonFiniteAudioError):
        return AudioFault("not_finite", reason)
    if isinstance(error, OutOfRangeAudioError):
        return AudioFault("out_of_range", reason)
    return AudioFault("truncated" if isinstance(error, TruncatedAudioError) else "unreadable", reason)
