"""Audio files in and out: any format, any rate, any channel, delivered as one float32 waveform.

libsndfile reads wav, flac, ogg, opus, mp3, NIST SPHERE, raw PCM and more; PyAV, where installed, reads m4a, mp4, webm
and what else libsndfile cannot. Every fault of a file is an AudioError of one line.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from asr.audio.media import MEDIA_SUFFIXES, MediaReader, has_pyav
from asr.audio.raw import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, RAW_SUFFIXES, RawFormat
from asr.audio.resample import resample
from asr.audio.samples import Watch
from asr.audio.sndfile import SndfileReader, UnknownFormatError
from asr.audio.structure import Head, refuse_joined_media, refuse_joined_mp3
from asr.errors import AudioError
from asr.system.runtime import atomic_path

SNDFILE_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".sph", ".aif", ".aiff", ".au", ".w64", ".caf"}
)
AUDIO_SUFFIXES = SNDFILE_SUFFIXES | MEDIA_SUFFIXES  # what is looked for in folders; raw PCM is not known by its name

OnFault = Callable[[AudioError], None]  # is called with what ends a recording early


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


def audio_info(path: str | Path, raw: RawFormat | None = None) -> AudioInfo:
    """Rate, channels and length without decoding: from the header, or counted where no header states it.

    The header of a video or of m4a may err by some hundredths of a second. Raises AudioError for a path that is missing
    or no file, for what is not audio, holds no sample, or ends before its header says. Damage further inside shows
    only when the samples are read.
    """
    with _open(Path(path), raw) as reader:
        num_samples = reader.num_samples if reader.num_samples is not None else reader.count_samples()
        return AudioInfo(reader.sample_rate, reader.num_channels, num_samples)


def load_audio(
    path: str | Path,
    sample_rate: int = 16000,
    *,
    start: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
    raw: RawFormat | None = None,
    partial: OnFault | None = None,
) -> np.ndarray:
    """The waveform (num_samples,) float32 at `sample_rate`; full scale is [-1, 1].

    Lossy decoders and resampling may overshoot full scale by a little, and float files keep what they hold.
    `start` and `duration` are seconds; a stretch that reaches beyond the end is cut there. `channel` counts from 0,
    None is the mean of all. `raw` says how to read a file without a header. With `partial`, what can be read of a
    file that breaks off is the waveform, and `partial` is called with the error.

    Raises AudioError as `audio_info` does, and for samples that are NaN, infinite or 2**33 times full scale, a channel
    the file lacks, a start at or beyond the end, and a file that breaks off. Warns, with AudioWarning, of channels that
    cancel each other out, and of integers written as floats.
    """
    path = Path(path)
    with _open(path, raw, is_partial=partial is not None) as reader:
        blocks = list(_decode(path, reader, start, duration, channel, partial))
        file_rate = reader.sample_rate
    return resample(blocks[0] if len(blocks) == 1 else np.concatenate(blocks), file_rate, sample_rate)


def read_blocks(
    path: str | Path,
    sample_rate: int = 16000,
    block_seconds: float = 30.0,
    *,
    channel: int | None = None,
    start: float = 0.0,
    duration: float | None = None,
    raw: RawFormat | None = None,
    partial: OnFault | None = None,
) -> Iterator[np.ndarray]:
    """What `load_audio` gives, in blocks of `block_seconds` (the last one shorter), in memory bounded by one block."""
    assert block_seconds > 0
    path = Path(path)
    with _open(path, raw, is_partial=partial is not None) as reader:
        decoded = _decode(path, reader, start, duration, channel, partial)
        yield from _rechunk(
            _resampled(decoded, reader.sample_rate, sample_rate), max(1, round(block_seconds * sample_rate))
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


@contextmanager
def _open(path: Path, raw: RawFormat | None, *, is_partial: bool = False) -> Iterator[SndfileReader | MediaReader]:
    reader = _reader(path, _check_file(path), raw, is_partial)
    try:
        if not MIN_SAMPLE_RATE <= reader.sample_rate <= MAX_SAMPLE_RATE:
            raise AudioError(f"{path}: its header states {reader.sample_rate} Hz, which is impossible; export it again")
        yield reader
    finally:
        reader.close()


def _check_file(path: Path) -> Head:
    """The beginning of a file; AudioError unless there is one with something in it that may be read."""
    head = Head(b"", 0, 0)
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            head = Head.read(path, status)
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            raise AudioError(f"{path}: cannot be read ({error.strerror})") from error
        if path.is_symlink():
            raise AudioError(f"{path}: is a link to {path.readlink()}, which does not exist") from error
        raise AudioError(f"{path}: there is no such file") from error
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{path}: is a directory, not an audio file")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(f"{path}: is a pipe or a device, not a file; copy it into a file first")
    if status.st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes); record or copy it again")
    return head


def _reader(path: Path, head: Head, raw: RawFormat | None, is_partial: bool) -> SndfileReader | MediaReader:
    suffix = path.suffix.lower()
    if raw is None and suffix in RAW_SUFFIXES:
        raise AudioError(f"{path}: {suffix} files have no header; give rate, channels and encoding: --raw 8000:1:s16le")
    if raw is None and suffix in MEDIA_SUFFIXES and not head.is_of_sndfile:
        refuse_joined_media(path, head)
        return MediaReader(path, partial=is_partial)
    if raw is None:
        refuse_joined_mp3(path, head)
    try:
        return SndfileReader(path, raw, head=head, partial=is_partial)
    except UnknownFormatError as error:
        if not has_pyav():
            advice = "convert it to wav or flac, or run: pip install 'asr-toolkit[media]', which reads more formats"
            raise AudioError(f"{error}; {advice}") from error
        refuse_joined_media(path, head)
        try:
            return MediaReader(path, partial=is_partial)
        except AudioError:
            raise AudioError(f"{error}; convert it to wav or flac") from error


def _decode(
    path: Path,
    reader: SndfileReader | MediaReader,
    start: float,
    duration: float | None,
    channel: int | None,
    partial: OnFault | None,
) -> Iterator[np.ndarray]:
    """One channel's samples at the file's own rate, block by block, from `start` on."""
    if channel is not None and not 0 <= channel < reader.num_channels:
        raise AudioError(f"{path}: there is no channel {channel}; channels 0 to {reader.num_channels - 1} exist")
    if start < 0 or (duration is not None and duration <= 0):
        raise AudioError(f"{path}: start {start} s, duration {duration} s: start is at least 0 and duration above 0")
    first = round(start * reader.sample_rate)
    last = None if duration is None else first + max(1, round(duration * reader.sample_rate))
    watch = Watch(str(path), reader.sample_rate, first)
    mixes = channel is None and reader.num_channels > 1
    is_empty = True
    try:
        for block in reader.read(first, last):
            used = block if channel is None else block[:, channel : channel + 1]
            watch.look(used)
            mono = block.mean(axis=1) if mixes else used[:, 0]
            if mixes:
                watch.look_at_mix(block, mono)
            is_empty = False
            yield np.ascontiguousarray(mono)
    except AudioError as error:
        if partial is None or is_empty:
            raise
        partial(error)
    else:
        if partial is not None and reader.fault is not None and (last is None or watch.position < last):
            partial(reader.fault)
    if is_empty:
        end = "before" if reader.num_samples is None else f"at {reader.num_samples / reader.sample_rate:.3f} s"
        raise AudioError(f"{path}: starts at {start:.3f} s asked for, but ends {end}")
    if mixes:
        watch.finish(reader.num_channels)


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
