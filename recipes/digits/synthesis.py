"""One espeak-ng voice says connected digits and short commands: synthesis.py VOICE COUNT SEED FOLDER.

Writes FOLDER/<id>.wav (16 kHz) and prints one JSON line {"id", "text"} for each. espeak-ng carries state from one
sentence to the next, so one process speaks one voice in a fixed order: that way the waveforms never change.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asr.audio.io import write_wav
from asr.audio.resample import resample
from asr.corpora.recipe import exit_status
from asr.errors import AsrError
from asr.system.runtime import derive_rng
from asr.types import Word

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
AUDIO_OUTPUT_SYNCHRONOUS, PHONEME_EVENTS, INITIALIZE_DONT_EXIT, POS_CHARACTER, CHARS_UTF8 = 2, 1, 0x8000, 1, 1
RATE, VOLUME, PITCH, PITCH_RANGE = 1, 2, 3, 4
LIST_TERMINATED, WORD, PHONEME = 0, 1, 7
PAUSE = b"_"  # names of pauses begin so


class Event(ctypes.Structure):
    """espeak_EVENT: something that begins at a sample of the audio."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # of a word: its first character, counted from 1
        ("length", ctypes.c_int),  # of a word: characters
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),  # of a phoneme
    )


SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


class Speech(NamedTuple):
    """What espeak-ng said, and when."""

    waveform: np.ndarray  # (num_samples,) float32 at 16 kHz
    words: list[Word]  # without the pauses after them; some words, such as "on the", are spoken as one


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
            AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode(), INITIALIZE_DONT_EXIT | PHONEME_EVENTS
        )
        if self._native_rate <= 0 or self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise AsrError(f"espeak-ng cannot speak as '{voice}' with the data in {data}; reinstall espeakng-loader")
        self._blocks: list[np.ndarray] = []
        self._events: list[tuple[float, int]] = []  # seconds, and where in the text the word is that begins; 0: a pause
        self._callback = SYNTH_CALLBACK(self._receive)  # kept here, or Python would free it under the library
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, rate: int, pitch: int, pitch_range: int) -> Speech:
        """Say a text; rate in words per minute, pitch and its range 0..100 (50 is the voice's own)."""
        self._blocks.clear()
        self._events.clear()
        # Half of the usual volume: some voices saturate otherwise.
        for parameter, value in ((RATE, rate), (VOLUME, 50), (PITCH, pitch), (PITCH_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        self._library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, POS_CHARACTER, 0, CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        if not self._blocks:
            raise AsrError(f"espeak-ng made no sound for '{text}'; reinstall espeakng-loader")
        waveform = np.concatenate(self._blocks).astype(np.float32) / 32768
        return Speech(resample(waveform, self._native_rate, SAMPLE_RATE), self._words(text, len(waveform)))

    def _words(self, text: str, num_samples: int) -> list[Word]:
        """A word ends where the next word or a pause begins, the last one no later than the audio."""
        times = [seconds for seconds, _ in self._events] + [num_samples / self._native_rate]
        begun = [(place, position - 1) for place, (_, position) in enumerate(self._events) if position]
        stops = [position for _, position in begun[1:]] + [len(text)]
        return [
            Word(times[place], times[place + 1], text[first:stop].strip())
            for (place, first), stop in zip(begun, stops, strict=True)
        ]

    def _receive(self, samples: Any, num_samples: int, events: Any) -> int:
        for event in itertools.takewhile(lambda event: event.type != LIST_TERMINATED, events):
            if event.type == WORD or (event.type == PHONEME and event.name.startswith(PAUSE)):
                self._events.append((event.sample / self._native_rate, event.text_position * (event.type == WORD)))
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
        write_wav(folder / f"{id}.wav", record(espeak.speak(text, rate, pitch, pitch_range).waveform, rng), SAMPLE_RATE)
        print(json.dumps({"id": id, "text": text}))


if __name__ == "__main__":
    voice, count, seed, folder = sys.argv[1:]
    sys.exit(exit_status(lambda: synthesise(voice, int(count), int(seed), Path(folder))))
