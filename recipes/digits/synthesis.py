"""One espeak-ng voice says connected digits and short commands: synthesis.py VOICE COUNT SEED FOLDER.

Writes FOLDER/<id>.wav (16 kHz) and prints one JSON line {"id", "text"} for each. espeak-ng carries state from one
sentence to the next, so one process speaks one voice in a fixed order: that way the waveforms never change.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from asr.audio.io import write_wav
from asr.audio.resample import resample
from asr.data.recipe import exit_status
from asr.errors import AsrError
from asr.runtime import derive_rng

SAMPLE_RATE = 16000
DIGITS = ("zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COMMANDS = (
    "answer the phone",
    "call home",
    "call the office",
    "cancel",
    "close the door",
    "continue",
    "delete the last message",
    "go back",
    "go home",
    "hang up",
    "help",
    "louder please",
    "lock the door",
    "next song",
    "no",
    "open the door",
    "open the window",
    "pause the music",
    "play some music",
    "play the next song",
    "previous song",
    "quiet please",
    "read my messages",
    "repeat that",
    "send a message",
    "set a timer",
    "set an alarm",
    "show the map",
    "start",
    "start the timer",
    "stop",
    "stop the music",
    "take a picture",
    "turn left",
    "turn off the lights",
    "turn on the heating",
    "turn on the lights",
    "turn right",
    "what time is it",
    "yes",
)
# From espeak-ng's speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS, INITIALIZE_DONT_EXIT, POS_CHARACTER, CHARS_UTF8 = 2, 0x8000, 1, 1
RATE, VOLUME, PITCH, PITCH_RANGE = 1, 2, 3, 4
SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """The espeak-ng library with one voice chosen; at most one a process, because the library is one global itself."""

    def __init__(self, voice: str) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise AsrError("espeakng-loader is not installed; run: pip install 'asr-toolkit[demo]'") from error
        data = str(espeakng_loader.get_data_path())
        self._library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        self._native_rate = self._library.espeak_Initialize(
            AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode(), INITIALIZE_DONT_EXIT
        )
        if self._native_rate <= 0 or self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise AsrError(f"espeak-ng cannot speak as '{voice}' with the data in {data}; reinstall espeakng-loader")
        self._blocks: list[np.ndarray] = []
        self._callback = SYNTH_CALLBACK(self._receive)  # kept here, or Python would free it under the library
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, rate: int, pitch: int, pitch_range: int) -> np.ndarray:
        """(num_samples,) at 16 kHz; rate in words per minute, pitch and its range 0..100 (50 is the voice's own)."""
        self._blocks.clear()
        # Half of the usual volume: some voices saturate otherwise.
        for parameter, value in ((RATE, rate), (VOLUME, 50), (PITCH, pitch), (PITCH_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        self._library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, POS_CHARACTER, 0, CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        if not self._blocks:
            raise AsrError(f"espeak-ng made no sound for '{text}'; reinstall espeakng-loader")
        waveform = np.concatenate(self._blocks).astype(np.float32) / 32768
        return resample(waveform, self._native_rate, SAMPLE_RATE)

    def _receive(self, samples: Any, num_samples: int, _events: Any) -> int:
        if samples and num_samples > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, shape=(num_samples,)).copy())
        return 0


def draw_text(rng: np.random.Generator) -> str:
    """Three times out of four 1 to 8 digits, else a command."""
    if rng.random() < 0.75:
        return " ".join(rng.choice(DIGITS, size=rng.integers(1, 9)))
    return str(rng.choice(COMMANDS))


def record(speech: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As if through a microphone: pauses around, white to pink noise at 15 to 35 dB SNR, peak at -16 to -2 dB."""
    before, after = rng.integers(SAMPLE_RATE // 20, SAMPLE_RATE // 4, size=2)
    spectrum = np.fft.rfft(rng.standard_normal(before + len(speech) + after))
    spectrum *= np.arange(1, len(spectrum) + 1) ** -rng.uniform(0, 0.5)
    noise = np.fft.irfft(spectrum, before + len(speech) + after)
    noise *= np.sqrt(np.mean(speech**2) / np.mean(noise**2)) / 10 ** (rng.uniform(15, 35) / 20)
    waveform = np.pad(speech, (before, after)) + noise
    peak = 10 ** (rng.uniform(-16, -2) / 20)
    return np.asarray(waveform * (peak / np.max(np.abs(waveform))), dtype=np.float32)


def synthesise(voice: str, count: int, seed: int, folder: Path) -> None:
    """Speak `count` utterances into `folder` and print a JSON line for each."""
    espeak = Espeak(voice)
    for number in range(count):
        id = f"{voice.replace('+', '-')}-{number:03d}"
        rng = derive_rng(seed, 0, id, "synthesis")
        text = draw_text(rng)
        rate, pitch, pitch_range = (int(rng.integers(low, high)) for low, high in ((130, 221), (25, 76), (30, 71)))
        write_wav(folder / f"{id}.wav", record(espeak.speak(text, rate, pitch, pitch_range), rng), SAMPLE_RATE)
        print(json.dumps({"id": id, "text": text}))


if __name__ == "__main__":
    voice, count, seed, folder = sys.argv[1:]
    sys.exit(exit_status(lambda: synthesise(voice, int(count), int(seed), Path(folder))))
