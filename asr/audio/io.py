"""Audio files in and out: any format libsndfile reads, any rate, any channel, delivered as one float32 waveform.

wav, flac, ogg, opus, mp3 and NIST SPHERE are tested. Every fault of a file is an AudioError of one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from asr.audio.resample import resample
from asr.errors import AudioError
from asr.runtime import atomic_path

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".sph", ".aif", ".aiff", ".au", ".w64"})
BLOCK_FRAMES = 1 << 18  # decoded at once, so that channels are mixed down before a long file is held in full
STREAMED_SIZE = 0x7FFFF000  # a size of this or more is what writers to a pipe put where they cannot know it


@dataclass(frozen=True)
class AudioInfo:
    """What a file says about itself."""

    sample_rate: int  # Hz
    num_channels: int
    num_samples: int  # per channel

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_samples / self.sample_rate


def audio_info(path: str | Path) -> AudioInfo:
    """Rate, channels and length from the header, without decoding.

    Raises AudioError for a path that is missing or a directory, for what is not audio, holds no sample, or ends
    before its header says. Damage further inside shows only when the samples are read.
    """
    with _open(Path(path)) as sound:
        return AudioInfo(sound.samplerate, sound.channels, sound.frames)


def load_audio(
    path: str | Path,
    sample_rate: int = 16000,
    *,
    start: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
) -> np.ndarray:
    """The waveform (num_samples,) float32 at `sample_rate`; full scale is [-1, 1].

    Lossy decoders and resampling may overshoot full scale by a little, and float files keep what they hold.
    `start` and `duration` are seconds; a stretch that reaches beyond the end is cut there. `channel` counts from 0,
    None is the mean of all. Raises AudioError as `audio_info` does, and for NaN or infinite samples, a channel the
    file lacks, a start at or beyond the end, and a file that breaks off.
    """
    path = Path(path)
    with _open(path) as sound:
        blocks = list(_decode(path, sound, start, duration, channel, BLOCK_FRAMES))
        file_rate = sound.samplerate
    return resample(blocks[0] if len(blocks) == 1 else np.concatenate(blocks), file_rate, sample_rate)


def read_blocks(
    path: str | Path, sample_rate: int = 16000, block_seconds: float = 30.0, *, channel: int | None = None
) -> Iterator[np.ndarray]:
    """What `load_audio` gives, in blocks of `block_seconds` (the last one shorter), in memory bounded by one block."""
    assert block_seconds > 0
    path = Path(path)
    with _open(path) as sound:
        block_frames = max(1, round(block_seconds * sound.samplerate))
        decoded = _decode(path, sound, 0.0, None, channel, block_frames)
        yield from _rechunk(
            _resampled(decoded, sound.samplerate, sample_rate), max(1, round(block_seconds * sample_rate))
        )


def write_wav(path: str | Path, waveform: np.ndarray, sample_rate: int) -> None:
    """Write (num_samples,) samples in [-1, 1] as 16-bit PCM wav; what lies beyond full scale is clipped.

    The file appears whole or not at all. Raises AudioError for NaN or infinite samples.
    """
    path = Path(path)
    if not np.isfinite(waveform).all():
        raise AudioError(f"{path}: the waveform to write holds NaN or infinite samples")
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        soundfile.write(file, waveform, sample_rate, format="WAV", subtype="PCM_16")


class _SoundFile(soundfile.SoundFile):
    """Read forward only: soundfile seeks after every read, which makes mp3 decoders stumble where two reads meet."""

    def seekable(self) -> bool:
        return False


@contextmanager
def _open(path: Path) -> Iterator[_SoundFile]:
    if not path.exists():
        raise AudioError(f"{path}: there is no such file")
    if path.is_dir():
        raise AudioError(f"{path}: is a directory, not an audio file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes); record or copy it again")
    try:
        sound = _SoundFile(path)
    except (soundfile.SoundFileError, OSError) as error:
        reason = str(getattr(error, "error_string", error)).rstrip(".\n ")
        raise AudioError(f"{path}: cannot be read as audio ({reason}); convert it to wav or flac") from error
    with sound:
        promised = _promised_frames(path, sound)
        if promised is not None and promised > sound.frames:
            raise _truncated(path, sound.frames, promised)
        if sound.format == "OGG" and not _ogg_has_its_end(path):
            raise AudioError(f"{path}: the file is truncated, its last page is missing; record or copy it again")
        if sound.frames == 0:
            raise AudioError(f"{path}: the file holds no samples; record or copy it again")
        yield sound


def _promised_frames(path: Path, sound: _SoundFile) -> int | None:
    """How many frames the header announces where libsndfile silently settles for those that are there."""
    if sound.format == "NIST":
        with open(path, "rb") as file:
            found = re.search(rb"sample_count -i (\d+)", file.read(1024))
        return int(found[1]) if found else None
    for announced, present in re.findall(
        r"^\s*(?:data|SSND) : (\d+) \(should be (\d+)\)", sound.extra_info, re.MULTILINE
    ):
        if int(present) < int(announced) < STREAMED_SIZE:
            return int(sound.frames) * int(announced) // max(1, int(present))
    return None


def _ogg_has_its_end(path: Path) -> bool:
    """Whether the last ogg page (at most 65307 bytes) is whole and marked as the last of its stream."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * 65307))
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _decode(
    path: Path, sound: _SoundFile, start: float, duration: float | None, channel: int | None, block_frames: int
) -> Iterator[np.ndarray]:
    """One channel's samples at the file's own rate, block by block, from `start` on."""
    if channel is not None and not 0 <= channel < sound.channels:
        raise AudioError(f"{path}: there is no channel {channel}; channels 0 to {sound.channels - 1} exist")
    if start < 0 or (duration is not None and duration <= 0):
        raise AudioError(f"{path}: start {start} s, duration {duration} s: start is at least 0 and duration above 0")
    first = round(start * sound.samplerate)
    if first >= sound.frames:
        raise AudioError(
            f"{path}: starts at {start:.3f} s asked for, but ends at {sound.frames / sound.samplerate:.3f} s"
        )
    last = sound.frames if duration is None else min(sound.frames, first + max(1, round(duration * sound.samplerate)))
    position = _seek(path, sound, first)
    while position < last:
        block = _read(path, sound, position, min(block_frames, last - position))
        if not len(block):
            if position > first and _length_is_estimated(path, sound):
                return
            raise _truncated(path, position, sound.frames)
        skipped = max(0, first - position)
        position += len(block)
        if skipped >= len(block):
            continue
        mono = (
            block[skipped:, channel or 0]
            if channel is not None or sound.channels == 1
            else block[skipped:].mean(axis=1)
        )
        if not np.isfinite(mono).all():
            raise AudioError(f"{path}: the file holds NaN or infinite samples; export it again")
        yield np.ascontiguousarray(mono)


def _seek(path: Path, sound: _SoundFile, first: int) -> int:
    """Go to frame `first` and return the frame that is read next."""
    if first == 0 or sound.format == "MP3" or sound.subtype == "OPUS":  # their decoders need all that comes before
        return 0
    try:
        return int(sound.seek(first))
    except soundfile.SoundFileError as error:
        raise AudioError(f"{path}: cannot go to sample {first} of {sound.frames}; copy it again") from error


def _read(path: Path, sound: _SoundFile, position: int, frames: int) -> np.ndarray:
    try:
        return np.asarray(sound.read(frames, dtype="float32", always_2d=True))
    except soundfile.SoundFileError as error:
        message = (
            f"the file is damaged or truncated after {position} of {sound.frames} samples; record or copy it again"
        )
        raise AudioError(f"{path}: {message}") from error


def _length_is_estimated(path: Path, sound: _SoundFile) -> bool:
    """An mp3 without a Xing, Info or VBRI header: its length is a guess from the first frame's bit rate."""
    if sound.format != "MP3":
        return False
    with open(path, "rb") as file:
        head = file.read(10)
        tag_bytes = 0
        if head[:3] == b"ID3":
            for byte in head[6:10]:  # seven bits a byte
                tag_bytes = tag_bytes << 7 | byte
        file.seek(tag_bytes)
        return re.search(b"Xing|Info|VBRI", file.read(4096)) is None


def _truncated(path: Path, read: int, expected: int) -> AudioError:
    return AudioError(f"{path}: the file ends after {read} of {expected} samples; record or copy it again")


def _resampled(blocks: Iterator[np.ndarray], from_rate: int, to_rate: int) -> Iterator[np.ndarray]:
    if from_rate == to_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def _rechunk(pieces: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in arrays of `size`, the last one shorter but never empty."""
    waiting = np.zeros(0, dtype=np.float32)
    for piece in pieces:
        waiting = np.concatenate((waiting, piece))
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if len(waiting):
        yield waiting
