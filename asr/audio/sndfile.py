"""Samples of the formats that libsndfile reads, and of raw PCM."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from asr.audio.mpeg import INDEXED, MUTED, FrameHeader, Mp3Length, count_frames, from_frame, with_length
from asr.audio.parts import Part
from asr.audio.raw import ENCODINGS, RawFormat
from asr.audio.structure import SNDFILE_MAGIC, STREAMED_SIZE, Head, find_parts
from asr.errors import AudioError, TruncatedAudioError
from asr.system.display import counted

BLOCK_SAMPLES = 1 << 18  # decoded at once, so that channels are mixed down before a long file is held in full
PARTIAL_SAMPLES = 1 << 12  # decoded at once where damage is expected, since a block with damage is lost
UNKNOWN_LENGTH = 1 << 48  # samples; libsndfile has more than that where a flac was written to a pipe
MP3_PREROLL = MUTED + 4  # frames decoded before a segment; four settle the filters
OPUS_PREROLLS = (10, 30, 90)  # seconds; where two of them agree on the last second, so does decoding from the beginning


class UnknownFormatError(AudioError):
    """A file that libsndfile cannot open; something else may."""


class SndfileReader:
    """An open file; `num_samples` is what the header announces or what was counted, and None if neither is.

    Recordings that stand one behind the other in a file are read as one. Raises UnknownFormatError for what is no
    audio, AudioError for a file cut short, without samples, or whose recordings differ in rate or channels. With
    `partial`, what is there of a file cut short is read, and `fault` says what is missing.
    """

    def __init__(
        self, path: Path, raw: RawFormat | None = None, *, head: Head | None = None, partial: bool = False
    ) -> None:
        self.path = path
        self.fault: AudioError | None = None
        self._head = head or Head.read(path)
        self._raw = raw
        self._partial = partial
        self._parts: tuple[Part | None, ...] = (() if raw is not None else find_parts(path, self._head)) or (None,)
        self._current = self._reader(0)
        self.sample_rate, self.num_channels = self._current.sample_rate, self._current.num_channels
        self._lengths = [self._current.num_samples]
        if len(self._parts) > 1:
            self._current.close()
            self._lengths = [self._length_of(number) for number in range(len(self._parts))]

    @property
    def num_samples(self) -> int | None:
        """Per channel."""
        first, *more = self._lengths
        return first if first is None else first + sum(filter(None, more))

    def close(self) -> None:
        self._current.close()

    def read(self, first: int, last: int | None) -> Iterator[np.ndarray]:
        """Samples `first` to `last`, or to the end, in order, as blocks (num_samples, num_channels) float32."""
        begin = 0
        for number, length in enumerate(self._lengths):
            is_wanted = length is None or first < begin + length
            if is_wanted and (last is None or last > begin):
                if len(self._lengths) > 1:
                    self._current.close()
                    self._current = self._reader(number)
                yield from self._current.read(max(0, first - begin), None if last is None else last - begin)
            begin += length or 0

    def count_samples(self) -> int:
        """The length of a file that does not state it, by decoding all; nothing can be read afterwards."""
        return self._current.count_samples()

    def _reader(self, number: int) -> _PartReader:
        reader = _PartReader(self.path, self._raw, self._head, self._parts[number], partial=self._partial)
        self.fault = self.fault or reader.fault
        return reader

    def _length_of(self, number: int) -> int:
        reader = self._reader(number)
        try:
            rate, channels = reader.sample_rate, reader.num_channels
            if (rate, channels) != (self.sample_rate, self.num_channels):
                raise _differing(self.path, (self.num_channels, self.sample_rate), (channels, rate))
            return reader.count_samples() if reader.num_samples is None else reader.num_samples
        finally:
            reader.close()


class _PartReader:
    """One recording: a file, or a part of one."""

    def __init__(self, path: Path, raw: RawFormat | None, head: Head, part: Part | None, *, partial: bool) -> None:
        self.path = path
        self._head = head
        self.fault: AudioError | None = None
        self._part = part
        self._partial = partial
        self._may_end_early = False
        self._mp3: Mp3Length | None = None
        self._sound = self._open(raw)
        try:
            self._check()
        except AudioError:
            self.close()
            raise
        self.sample_rate = int(self._sound.samplerate)
        self.num_channels = int(self._sound.channels)
        self.num_samples = int(self._sound.frames) if self._sound.frames < UNKNOWN_LENGTH else None

    def close(self) -> None:
        self._sound.close()

    def read(self, first: int, last: int | None) -> Iterator[np.ndarray]:
        """As `SndfileReader.read`."""
        end = UNKNOWN_LENGTH if self.num_samples is None else self.num_samples
        if first >= end:
            return
        position = self._go_to(first)
        last = end if last is None else min(last, end)
        at_once = PARTIAL_SAMPLES if self._partial else BLOCK_SAMPLES
        while position < last:
            block = self._read(position, min(at_once, last - position))
            if not len(block):
                if self.num_samples is None or (position > first and self._may_end_early):
                    return
                raise _truncated(self.path, position, self.num_samples)
            if position + len(block) > first:
                yield block[max(0, first - position) :]
            position += len(block)

    def count_samples(self) -> int:
        """As `SndfileReader.count_samples`."""
        return sum(len(block) for block in self.read(0, None))

    def _open(self, raw: RawFormat | None) -> _ForwardOnly:
        path = os.fsencode(self.path) if os.name == "posix" else self.path
        try:
            if raw is not None:
                return self._open_raw(path, raw)
            if self._part is not None:
                return _ForwardOnly(self._part.open(self.path))
            return self._open_mp3(path) if self._is_mpeg() else _ForwardOnly(path)
        except (soundfile.SoundFileError, OSError) as error:
            reason = str(getattr(error, "error_string", error)).rstrip(".\n ")
            if self._head.data.startswith(b"NIST_1A") and b"embedded-shorten" in self._head.data:
                reason = "SPHERE compressed by shorten"
            if self._part is not None and (self._part.begin or self._part.fault):  # not to be read as less by others
                where = f"from byte {self._part.begin} on" if self._part.begin else "to its end"
                raise TruncatedAudioError(
                    f"{self.path}: cannot be read {where} ({reason}); the file is damaged; record or copy it again"
                ) from error
            raise UnknownFormatError(f"{self.path}: cannot be read as audio ({reason})") from error

    def _is_mpeg(self) -> bool:
        head = self._head.data[:4]
        is_named_so = self.path.suffix.lower() == ".mp3" and head not in SNDFILE_MAGIC
        return is_named_so or head[:3] == b"ID3" or FrameHeader.parse(head) is not None

    def _open_raw(self, path: bytes | Path, raw: RawFormat) -> _ForwardOnly:
        if self._head.size % raw.frame_bytes:
            self._report(
                AudioError(
                    f"{self.path}: {self._head.size} bytes are no whole number of samples of "
                    f"{raw.frame_bytes} bytes ({raw.channels} x {raw.encoding}); correct the raw format, or record it "
                    "again"
                )
            )
        subtype, endian, _ = ENCODINGS[raw.encoding]
        return _ForwardOnly(
            path,
            samplerate=raw.sample_rate,
            channels=raw.channels,
            format="RAW",
            subtype=subtype,
            endian=endian,
        )

    def _open_mp3(self, path: bytes | Path) -> _ForwardOnly:
        """An mp3 without what stands around its frames, with the counted length where it states none or another."""
        length = self._mp3 = count_frames(self.path, self._head)
        if length is None:  # libsndfile would say so, too, after lines of its own on standard error
            raise UnknownFormatError(f"{self.path}: cannot be read as audio (Format not recognised)")
        if (others := length.others) is not None:
            own = FrameHeader.parse(length.first)
            assert own is not None
            raise _differing(self.path, (own.num_channels, own.sample_rate), (others.num_channels, others.sample_rate))
        missing = None if length.announced is None else length.announced - length.num_frames
        if missing is not None and missing > 1:  # with one, the frame that announces the length counted itself
            self._report(
                TruncatedAudioError(
                    f"{self.path}: the file holds {length.num_frames} of {length.announced} mp3 frames; "
                    "it is truncated or damaged; record or copy it again"
                )
            )
        if missing == 0 and not length.has_padding:
            return _ForwardOnly(path)
        self._may_end_early = missing != 0  # frames may be beyond decoding, those between joined files for instance
        return _ForwardOnly(with_length(length).open(self.path))

    def _check(self) -> None:
        sound = self._sound
        promised = _promised_samples(self._head.data, sound) if self._part is None or not self._part.front else None
        if promised is not None and promised > sound.frames:
            self._report(_truncated(self.path, sound.frames, promised))
        if self._part is not None and self._part.fault:
            self._report(
                TruncatedAudioError(f"{self.path}: the file is truncated, {self._part.fault}; record or copy it again")
            )
            self._may_end_early = True
        if sound.frames == 0:
            raise AudioError(f"{self.path}: the file holds no samples; record or copy it again")

    def _report(self, fault: AudioError) -> None:
        """A fault that leaves something to read: an error, unless what is there is wanted."""
        if not self._partial:
            raise fault
        self.fault = fault

    def _go_to(self, first: int) -> int:
        """Go to sample `first` or before and return the sample that is read next."""
        if first == 0 or self.num_samples is None:
            return 0
        if self._mp3 is not None:
            return self._go_to_mp3(self._mp3, first)
        if self._sound.subtype == "OPUS":
            return self._go_to_opus(first)
        return self._seek(first) if self._sound.format != "MP3" else 0

    def _go_to_mp3(self, length: Mp3Length, first: int) -> int:
        """Begin with a frame far enough before the sample: mpg123's own seeking walks through all frames."""
        begin = max(0, first // length.num_samples - MP3_PREROLL) // INDEXED
        if not begin:
            return 0
        part, sample = from_frame(self.path, length, begin)
        self._sound.close()
        self._sound = _ForwardOnly(part.open(self.path))
        return sample

    def _go_to_opus(self, first: int) -> int:
        """Speech in Opus is predicted from before, in voiced sounds for seconds: see `OPUS_PREROLLS`."""
        before: np.ndarray | None = None
        for seconds in OPUS_PREROLLS:
            position = first - seconds * self.sample_rate
            if position <= 0:
                break
            self._seek(position)
            last_second = np.zeros((0, self.num_channels), dtype=np.float32)
            while position < first:
                block = self._read(position, min(BLOCK_SAMPLES, first - position))
                if not len(block):
                    raise _truncated(self.path, position, self.num_samples or 0)
                last_second = np.concatenate((last_second, block))[-self.sample_rate :]
                position += len(block)
            if before is not None and np.array_equal(before, last_second):
                return first
            before = last_second
        self._sound.close()
        self._sound = self._open(None)
        return 0

    def _seek(self, sample: int) -> int:
        try:
            return int(self._sound.seek(sample))
        except soundfile.SoundFileError as error:
            raise AudioError(
                f"{self.path}: cannot go to sample {sample} of {self.num_samples}; copy it again"
            ) from error

    def _read(self, position: int, num_samples: int) -> np.ndarray:
        try:
            return np.asarray(self._sound.read(num_samples, dtype="float32", always_2d=True))
        except soundfile.SoundFileError as error:
            raise TruncatedAudioError(
                f"{self.path}: the file is damaged or truncated after {position} of {self.num_samples or 'unknown'} "
                "samples; record or copy it again"
            ) from error


class _ForwardOnly(soundfile.SoundFile):
    """Read forward only: soundfile seeks after every read, which makes mp3 decoders stumble where two reads meet."""

    _under: BinaryIO | None = None

    def __init__(self, file: bytes | Path | BinaryIO, **options: Any) -> None:
        if not isinstance(file, bytes | Path):
            self._under = file
        try:
            super().__init__(file, **options)
        except soundfile.SoundFileError:
            self._close_under()
            raise

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        super().close()
        self._close_under()

    def _close_under(self) -> None:
        if self._under is not None:
            self._under.close()


def _promised_samples(head: bytes, sound: _ForwardOnly) -> int | None:
    """How many samples the header announces where libsndfile silently settles for those that are there."""
    if sound.format == "NIST":
        found = re.search(rb"sample_count -i (\d+)", head[:1024])
        return int(found[1]) if found else None
    for announced, present in re.findall(
        r"^\s*(?:data|SSND) : (\d+) \(should be (\d+)\)", sound.extra_info, re.MULTILINE
    ):
        if int(present) < int(announced) < STREAMED_SIZE:
            return int(sound.frames) * int(announced) // max(1, int(present))
    return None


def _truncated(path: Path, read: int, expected: int) -> TruncatedAudioError:
    return TruncatedAudioError(f"{path}: the file ends after {read} of {expected} samples; record or copy it again")


def _differing(path: Path, first: tuple[int, int], other: tuple[int, int]) -> AudioError:
    """Of recordings in one file with other channels and Hz than the first."""
    (channels, rate), (other_channels, other_rate) = first, other
    return AudioError(
        f"{path}: recordings of different kinds follow each other, {counted(channels, 'channel')} of {rate} Hz and "
        f"{other_channels} of {other_rate} Hz; split the file"
    )
