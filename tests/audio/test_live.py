"""Audio as it comes: played at its own speed, from a pipe, from a microphone that is not there."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from asr.audio.io import load_audio, write_wav
from asr.audio.live import BLOCK_SECONDS, Microphone, list_inputs, play, read_pipe
from asr.audio.raw import RawFormat
from asr.errors import AsrError, AudioError, ConfigError
from tests.conftest import melody

RATE = 16000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_wav(tmp_path / "a.wav", melody(1, 0.5), RATE)
    return tmp_path / "a.wav"


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_a_file_is_played_at_its_own_speed(file: Path, speed: float) -> None:
    now = [100.0]
    times = []

    def sleep(seconds: float) -> None:
        now[0] += seconds

    blocks = []
    for block in play(file, RATE, speed=speed, clock=lambda: now[0], sleep=sleep):
        blocks.append(block)
        times.append(now[0] - 100.0)
        now[0] += 0.001  # computation delays nothing
    assert np.array_equal(np.concatenate(blocks), load_audio(file, RATE))
    spoken = np.cumsum([len(block) for block in blocks]) / RATE
    assert times == pytest.approx(spoken / speed)
    assert len(blocks[0]) == round(BLOCK_SECONDS * RATE)


def test_a_file_that_cannot_be_read_is_an_error_before_anything_is_played(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no audio")
    with pytest.raises(AudioError, match=r"a\.wav"):
        next(play(tmp_path / "a.wav", RATE))


class Trickle(io.BytesIO):
    """A pipe that gives a few bytes at a time, cut anywhere."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(7)


@pytest.mark.parametrize(("encoding", "dtype", "scale"), [("s16le", "<i2", 32768), ("f32be", ">f4", 1)])
def test_samples_come_from_a_pipe_however_it_cuts_them(encoding: str, dtype: str, scale: int) -> None:
    waveform = np.round(melody(2, 0.05) * 32768) / 32768
    content = (np.stack([waveform, -waveform / 2], 1) * scale).astype(dtype).tobytes()
    blocks = list(read_pipe(Trickle(content + b"\x01"), RawFormat(RATE, 2, encoding)))
    assert np.concatenate(blocks) == pytest.approx(waveform / 4, abs=1e-4)
    assert list(read_pipe(io.BytesIO(b""), RawFormat(RATE))) == []


class FakeSound(SimpleNamespace):
    """As much of sounddevice as is used: one microphone of 8000 Hz."""

    class PortAudioError(Exception):
        pass

    def __init__(self, blocks: int = 3, error: str | None = None) -> None:
        super().__init__(default=SimpleNamespace(device=(1, 0)))
        self.settings: dict[str, Any] = {}
        self.blocks = blocks
        self.error = error

    def query_devices(self, device: object = "all", kind: str | None = None) -> Any:
        devices = [
            {"name": "speakers", "max_input_channels": 0, "default_samplerate": 48000.0},
            {"name": "mic", "max_input_channels": 2, "default_samplerate": 8000.0},
        ]
        if device == "all":
            return devices
        if device in (None, 1, "mic"):
            return devices[1]
        raise ValueError(f"No input device matching {device!r}\nor so")

    def InputStream(self, **settings: Any) -> Any:  # noqa: N802
        if self.error is not None:
            raise self.PortAudioError(self.error)
        self.settings = settings
        return _FakeStream(settings, self.blocks)


class _FakeStream:
    def __init__(self, settings: dict[str, Any], blocks: int) -> None:
        self.settings, self.blocks = settings, blocks

    def __enter__(self) -> _FakeStream:
        def record() -> None:
            for number in range(self.blocks):
                samples = np.full((self.settings["blocksize"], 1), 0.1 * number, np.float32)
                self.settings["callback"](samples, len(samples), None, None)
                samples[:] = 9.0  # the driver uses its buffer again

        threading.Thread(target=record).start()
        return self

    def __exit__(self, *_: object) -> None: ...


def test_a_microphone_gives_blocks_at_its_own_rate() -> None:
    sound = FakeSound()
    microphone = Microphone(None, sound)
    assert (microphone.name, microphone.sample_rate) == ("mic", 8000)
    blocks = iter(microphone)
    assert [float(next(blocks)[0]) for _ in range(3)] == pytest.approx([0.0, 0.1, 0.2])
    assert sound.settings["channels"] == 1
    assert Microphone("1", sound).name == Microphone("mic", sound).name == "mic"


def test_what_is_wrong_with_a_microphone_is_one_line_with_a_way_out() -> None:
    with pytest.raises(ConfigError, match=r"no microphone 'nowhere'.*--simulate") as caught:
        Microphone("nowhere", FakeSound())
    assert "\n" not in str(caught.value)
    with pytest.raises(AsrError, match="microphone 'mic': in use"):
        next(iter(Microphone(None, FakeSound(error="in\nuse"))))


def test_inputs_are_listed_with_the_systems_own_choice_marked() -> None:
    assert list_inputs(FakeSound()) == ["*  1  mic  (2 channels, 8000 Hz)"]
