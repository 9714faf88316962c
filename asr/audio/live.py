"""Audio as it comes: a microphone, a recording played at its own speed, samples from a pipe. Blocks (N,) float32."""

from __future__ import annotations

import io
import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from asr.audio.io import audio_info, read_blocks
from asr.audio.raw import ENCODINGS, RawFormat
from asr.errors import AudioError, ConfigError

BLOCK_SECONDS = 0.08
MAX_WAITING_BLOCKS = 2000  # of a microphone that nobody reads


def play(
    path: Path,
    sample_rate: int,
    *,
    speed: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[np.ndarray]:
    """A file's blocks at `sample_rate`, each when its last sample would have been spoken, `speed` times as fast.

    Raises AudioError for what cannot be read, the first time before anything is played.
    """
    audio_info(path)
    began, given = clock(), 0
    for block in read_blocks(path, sample_rate, BLOCK_SECONDS):
        given += len(block)
        wait = began + given / sample_rate / speed - clock()
        if wait > 0:
            sleep(wait)
        yield block


def read_pipe(pipe: BinaryIO, raw: RawFormat) -> Iterator[np.ndarray]:
    """Samples without a header as they come from a pipe, at the rate that `raw` says; channels are averaged.

    A frame that is not complete at the end is left out.
    """
    subtype, endian, _ = ENCODINGS[raw.encoding]
    most = max(1, round(BLOCK_SECONDS * raw.sample_rate)) * raw.frame_bytes
    rest = b""
    read: Callable[[int], bytes] = getattr(pipe, "read1", pipe.read)
    while content := read(most):
        rest += content
        whole = len(rest) // raw.frame_bytes * raw.frame_bytes
        if whole:
            samples, _ = soundfile.read(
                io.BytesIO(rest[:whole]), dtype="float32", always_2d=True, format="RAW", samplerate=raw.sample_rate,
                channels=raw.channels, subtype=subtype, endian=endian,
            )  # fmt: skip
            rest = rest[whole:]
            yield samples.mean(1)


class Microphone:
    """A device that records, at its own rate: `sample_rate` in Hz. Iterating gives its blocks, without end.

    `device` is a number or a part of a name as `list_inputs` shows them; None is the system's own choice. ConfigError
    without the package, the system's library or a device. Blocks that nobody takes for minutes are lost.
    """

    def __init__(self, device: str | None = None, sounddevice: Any = None) -> None:
        self._sounddevice = sounddevice = sounddevice or import_sounddevice()
        self._device = int(device) if device is not None and device.isdecimal() else device
        try:
            info = sounddevice.query_devices(self._device, "input")
        except (ValueError, sounddevice.PortAudioError) as error:
            raise ConfigError(f"no microphone {_named(device)}: {one_line(error)}; {ADVICE}") from error
        self.name = str(info["name"])
        self.sample_rate = round(info["default_samplerate"])
        self._blocks: queue.Queue[np.ndarray] = queue.Queue(MAX_WAITING_BLOCKS)

    def __iter__(self) -> Iterator[np.ndarray]:
        def take(samples: np.ndarray, *_: object) -> None:
            if not self._blocks.full():
                self._blocks.put(samples[:, 0].copy())

        size = round(BLOCK_SECONDS * self.sample_rate)
        settings = {"samplerate": self.sample_rate, "blocksize": size, "channels": 1, "dtype": "float32"}
        try:
            with self._sounddevice.InputStream(device=self._device, callback=take, **settings):
                while True:
                    yield self._blocks.get()
        except self._sounddevice.PortAudioError as error:
            raise AudioError(f"microphone '{self.name}': {one_line(error)}") from error


ADVICE = "`asr listen --list-inputs` shows what there is, --simulate FILE plays a recording instead"


def list_inputs(sounddevice: Any = None) -> list[str]:
    """A line for each device that records: number, name, channels and rate; * before the system's own choice."""
    sounddevice = sounddevice or import_sounddevice()
    default = sounddevice.default.device[0]
    return [
        f"{'*' if number == default else ' '}{number:>3}  {device['name']}  "
        f"({device['max_input_channels']} channels, {device['default_samplerate']:.0f} Hz)"
        for number, device in enumerate(sounddevice.query_devices())
        if device["max_input_channels"] > 0
    ]


def import_sounddevice() -> Any:
    """The package that records; ConfigError with what to install where it or its library is missing."""
    try:
        import sounddevice
    except ImportError as error:
        raise ConfigError("a microphone needs sounddevice: pip install 'asr-toolkit[live]'") from error
    except OSError as error:
        raise ConfigError(
            "sounddevice finds no PortAudio; install it (Debian: apt install libportaudio2), or --simulate a FILE"
        ) from error
    return sounddevice


def one_line(error: Exception) -> str:
    """What an error says, without line breaks."""
    return " ".join(str(error).split())


def _named(device: str | None) -> str:
    return "was found" if device is None else f"'{device}'"
