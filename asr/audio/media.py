"""Sound of m4a, mp4, webm, mkv and what else FFmpeg reads, through PyAV: the extra `media`, imported when needed.

A track's place in time is kept: silence stands where the first sound begins after the picture, and where packets are
missing, so that times fit the video.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from asr.errors import AudioError, TruncatedAudioError

if TYPE_CHECKING:
    from av import AudioFrame

# Suffixes of what libsndfile cannot read. A .ts is read, too, but in folders it may be TypeScript.
MEDIA_SUFFIXES = frozenset(
    {".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".aac", ".webm", ".mkv", ".mka", ".wma", ".wmv", ".asf"}
    | {".avi", ".flv", ".mpg", ".mpeg", ".amr", ".ac3"}
)
# FFmpeg's names of the formats that state their length; of the others it guesses from the bit rate.
EXACT_LENGTH = frozenset({"wav", "w64", "aiff", "flac", "nistsphere"})  # to the sample
WITH_LENGTH = EXACT_LENGTH | {"mov", "mp4", "matroska", "webm", "asf", "avi", "caf"}
WITHOUT_LENGTH = frozenset({"aac", "ac3", "eac3", "amr", "mpeg", "mpegts", "ogg", "flv", "au", "ape", "wv"})
# Only these, and only files: a playlist must not make FFmpeg open addresses of others.
OPTIONS = {"format_whitelist": ",".join(sorted(WITH_LENGTH | WITHOUT_LENGTH)), "protocol_whitelist": "file"}
PREROLL = 1.0  # seconds decoded and thrown away before a start, enough for most codecs to settle
OPUS_PREROLL = 10.0  # seconds; voiced speech in Opus is predicted from before
TIMED = 0.0015  # seconds by which timestamps are off where a container counts in milliseconds
MIN_GAP = 0.1  # seconds without packets that become silence; less, but before the first, is timestamps' rounding
MAX_GAP = 3600.0  # seconds; more is a wrong timestamp
MAX_SKIPPED = 4096  # bytes between two packets; more where sound is missing, too, is damage
MISSING = 0.5  # seconds by which a file of another format may end before its header says


def has_pyav() -> bool:
    """Whether PyAV can be imported."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


class MediaReader:
    """The main audio track of an open file; `num_samples` is what the file says about itself, or None.

    Raises AudioError where PyAV is not installed, for what FFmpeg cannot read, and for a file without audio. With
    `partial`, `fault` says after reading that the file ended early, which is an error otherwise.
    """

    def __init__(self, path: Path, *, partial: bool = False) -> None:
        self.fault: AudioError | None = None
        self._partial = partial
        try:
            import av
        except ImportError as error:
            raise AudioError(
                f"{path}: {path.suffix or 'this format'} is read by PyAV, which is not installed; "
                "run: pip install 'asr-toolkit[media]'"
            ) from error
        self.path = path
        with self._errors("cannot be read as audio"):
            self._container = av.open(f"file:{path}", options=OPTIONS, metadata_errors="ignore")
        try:
            stream = self._container.streams.best("audio")
            if stream is None:
                raise AudioError(f"{path}: the file has no audio track")
            self._stream = stream
            self._end = 0.0  # of the packets read so far, of all tracks, in seconds
            self._skipped = 0  # bytes in no packet before the audio packet decoded last
            frames = self._decode()
            first = next(frames, None)
            if first is None:
                raise AudioError(f"{path}: the file holds no samples; record or copy it again")
        except AudioError:
            self.close()
            raise
        self._frames: Iterator[AudioFrame] = itertools.chain([first], frames)
        self._origin = (self._container.start_time or 0) / av.time_base  # seconds
        self._first_samples = int(first.samples)  # fewer than in later frames where the beginning is cut off
        self.sample_rate = int(first.sample_rate)
        self.num_channels = int(first.layout.nb_channels)
        names = set(self._container.format.name.split(","))
        self._duration = (self._container.duration or 0) / av.time_base if names & WITH_LENGTH else 0.0
        self._tolerance = 1e-3 if names & EXACT_LENGTH else MISSING
        self.num_samples = self._announced_samples()

    def close(self) -> None:
        self._container.close()

    def count_samples(self) -> int:
        """What the packets say about the length, without decoding them all; nothing can be read afterwards."""
        end = 0.0
        with self._errors("the file is damaged or truncated", TruncatedAudioError):
            for packet in self._container.demux(self._stream):
                if packet.pts is not None and packet.time_base is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - self._origin)
        return max(1, round(end * self.sample_rate))

    def read(self, first: int, last: int | None) -> Iterator[np.ndarray]:
        """Samples `first` to `last`, or to the end, in order, as blocks (num_samples, num_channels) float32."""
        position = self._go_to(first)
        held: np.ndarray | None = None  # back until it is known whether the encoder's padding is in it
        for samples in self._without_gaps(position):
            begin, position = position, position + len(samples)
            if position > first:
                if held is not None:
                    yield held
                held = samples[max(0, first - begin) : len(samples) if last is None else last - begin]
            if last is not None and position >= last:
                break
        else:
            self._check_end(position)
            padding = position - (self.num_samples or position)
            if held is not None and 0 < padding < len(held):
                held = held[:-padding]
        if held is not None:
            yield held

    def _decode(self) -> Iterator[AudioFrame]:
        with self._errors("the file is damaged or truncated", TruncatedAudioError):
            skipped = 0
            reached: int | None = None  # byte behind the last packet
            for packet in self._container.demux():
                if packet.pos is not None and packet.pos >= 0:
                    skipped = max(skipped, 0 if reached is None else packet.pos - reached)
                    reached = packet.pos + packet.size
                if packet.pts is not None and packet.time_base is not None:
                    self._end = max(self._end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream_index == self._stream.index:
                    self._skipped, skipped = skipped, 0
                    yield from cast("list[AudioFrame]", packet.decode())

    def _go_to(self, first: int) -> int:
        """Go to a little before sample `first`, and return the sample that is decoded next."""
        import av

        seconds = first / self.sample_rate - (OPUS_PREROLL if self._stream.codec_context.name == "opus" else PREROLL)
        if seconds <= 0:
            return 0
        with self._errors(f"cannot go to {seconds:.1f} s"):
            for place in (seconds, 0.0):  # from the beginning, if the file's index leads astray
                self._container.seek(round((place + self._origin) * av.time_base))
                frames = self._decode()
                frame = next(frames, None)
                position = None if frame is None else self._position_among_equals(frame)
                if position is not None and position <= first:
                    break
        self._frames = frames if frame is None else itertools.chain([frame], frames)
        return position or 0

    def _position(self, frame: AudioFrame) -> int | None:
        """The sample that a frame begins with, by its timestamp."""
        return None if frame.time is None else round((frame.time - self._origin) * self.sample_rate)

    def _position_among_equals(self, frame: AudioFrame) -> int | None:
        """As `_position`, to the sample if all frames but the first are as long as this one."""
        position = self._position(frame)
        if position is None or not frame.samples:
            return position
        frames = round((position - self._first_samples) / frame.samples)
        exact = self._first_samples + frames * frame.samples
        return exact if frames >= 0 and abs(exact - position) <= TIMED * self.sample_rate else position

    def _without_gaps(self, position: int) -> Iterator[np.ndarray]:
        """What is decoded from sample `position` on, with silence where nothing is; in pieces of up to a second."""
        for frame in self._frames:
            if (frame.sample_rate, frame.layout.nb_channels) != (self.sample_rate, self.num_channels):
                raise AudioError(
                    f"{self.path}: rate or number of channels changes after {position / self.sample_rate:.1f} s; "
                    "convert it to wav or flac"
                )
            gap = (self._position(frame) or 0) - position
            if (MIN_GAP * self.sample_rate if position else 0) < gap <= MAX_GAP * self.sample_rate:
                if self._skipped > MAX_SKIPPED:
                    raise AudioError(
                        f"{self.path}: the file is damaged after {position / self.sample_rate:.1f} s; "
                        "record or copy it again"
                    )
                position += gap
                while gap > 0:
                    yield np.zeros((min(gap, self.sample_rate), self.num_channels), dtype=np.float32)
                    gap -= self.sample_rate
            samples = _samples(frame)
            position += len(samples)
            yield samples

    def _check_end(self, position: int) -> None:
        reached = max(self._end - self._origin, position / self.sample_rate)
        if reached < self._duration - self._tolerance:
            self.fault = TruncatedAudioError(
                f"{self.path}: the file ends after {reached:.1f} of {self._duration:.1f} s; record or copy it again"
            )
            if not self._partial:
                raise self.fault

    def _announced_samples(self) -> int | None:
        if not self._duration:
            return None
        stream, seconds = self._stream, self._duration
        if stream.duration is not None and stream.time_base is not None:
            seconds = float(((stream.start_time or 0) + stream.duration) * stream.time_base) - self._origin
        return max(1, round(seconds * self.sample_rate))

    @contextmanager
    def _errors(self, what: str, kind: type[AudioError] = AudioError) -> Iterator[None]:
        import av

        try:
            yield
        except av.error.FFmpegError as error:
            raise kind(f"{self.path}: {what} ({error.strerror}); record or convert it again") from error


def _samples(frame: AudioFrame) -> np.ndarray:
    """(num_samples, num_channels) float32, full scale [-1, 1], of samples of any type, interleaved or not."""
    samples: np.ndarray = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    middle = 128.0 if samples.dtype == np.uint8 else 0.0
    full_scale = 2.0 ** (8 * samples.itemsize - 1) if samples.dtype.kind in "iu" else 1.0
    return np.asarray((samples - middle) / full_scale, dtype=np.float32)
