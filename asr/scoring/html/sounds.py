"""How a page gets at the audio of an utterance: a link to the file, or the samples in the page."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soundfile

from asr.errors import AudioError
from asr.types import Utterance

PLAYABLE = frozenset({".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".webm"})
_SPHERE = b"NIST"  # TIMIT's files are called .wav and are SPHERE


def is_playable(audio: Path) -> bool:
    """Whether browsers play files of this kind; AudioError if there is no such file."""
    try:
        with open(audio, "rb") as file:
            return audio.suffix.lower() in PLAYABLE and file.read(len(_SPHERE)) != _SPHERE
    except OSError as error:
        raise AudioError(f"{audio}: cannot be opened ({error.strerror})") from error


def audio_link(utterance: Utterance, folder: Path, is_part: bool) -> str:
    """The address of an utterance's audio, relative to a folder.

    A part of a longer file has its begin and end, in seconds, as a media fragment.
    """
    try:
        link = quote(Path(os.path.relpath(utterance.audio, folder.resolve())).as_posix())
    except ValueError:  # on another drive
        link = utterance.audio.resolve().as_uri()
    return f"{link}#t={utterance.start:.3f},{utterance.start + utterance.duration:.3f}" if is_part else link


def embedded_audio(waveform: np.ndarray, sample_rate: int) -> str:
    """A data URI that holds samples (N,) in [-1, 1] as FLAC of 16 bits."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(waveform, -1, 1), sample_rate, format="FLAC", subtype="PCM_16")
    return "data:audio/flac;base64," + base64.b64encode(file.getvalue()).decode()
