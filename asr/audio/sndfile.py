"""Samples of the formats that libsndfile reads, and of raw PCM."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from asr.audio.mpeg import FrameHeader, count_frames, with_length
from asr.audio.raw import ENCODINGS, RawFormat
from asr.errors import AudioError, TruncatedAudioError

BLOCK_SAMPLES = 1 << 18  # decoded at once, so that channels are mixed down before a long file is held in full
MAGIC = (b"RIFF", b"RF64", b"FORM", b"fLaC", b"OggS", b"NIST", b".snd", b"riff", b"caff")  # what is no mp3 begins so
UNKNOWN_LENGTH = 1 << 48  # samples; libsndfile has more than that where a flac was written to a pipe
STREAMED_SIZE = 0x7FFFF000  # a size of this or more is what writers to a pipe put where they cannot know it


class UnknownFormatError(AudioError):
    """A file that libsndfile cannot open; something else may."""


class SndfileReader:
    """An open file; `num_samples` is what the header announces or, for mp3, what was counted, and None if neither is.

    Raises UnknownFormatError for what is no audio, AudioError for a file cut short or without samples.
    """

    def __init__(self, path: Path, raw: RawFormat | None = None) -> None:
        self.path = path
        self._may_end_early = False
        self._file: BinaryIO | None = None  # that stands in for the path
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
        if self._file is not None:
            self._file.close()

    def read(self, first: int, last: int | None) -> Iterator[np.ndarray]:
        """Samples `first` to `last`, or to the end, in order, as blocks (num_samples, num_channels) float32."""
        end = UNKNOWN_LENGTH if self.num_samples is None else self.num_samples
        if first >= end:
            return
        position = self._go_to(first)
        last = end if last is None else min(last, end)
        while position < last:
            block = self._read(position, min(BLOCK_SAMPLES, last - position))
            if not len(block):
                if self.num_samples is None or (position > first and self._may_end_early):
                    return
                raise _truncated(self.path, position, self.num_samples)
            if position + len(block) > first:
                yield block[max(0, first - position) :]
            position += len(block)

    def count_samples(self) -> int:
        """The length of a file that does not tell it, by decoding all; nothing can be read afterwards."""
        return sum(len(block) for block in self.read(0, None))

    def _open(self, raw: RawFormat | None) -> _ForwardOnly:
        path = os.fsencode(self.path) if os.name == "posix" else self.path
        try:
            if raw is not None:
                return self._open_raw(path, raw)
            return self._open_mp3(path) if self._is_mpeg() else _ForwardOnly(path)
        except (soundfile.SoundFileError, OSError) as error:
            reason = str(getattr(error, "error_string", error)).rstrip(".\n ")
            if _is_shorten(self.path):
                reason = "SPHERE compressed by shorten"
            raise UnknownFormatError(f"{self.path}: cannot be read as audio ({reason})") from error

    def _is_mpeg(self) -> bool:
        with open(self.path, "rb") as file:
            head = file.read(4)
        is_named_so = self.path.suffix.lower() == ".mp3" and head not in MAGIC
        return is_named_so or head[:3] == b"ID3" or FrameHeader.parse(head) is not None

    def _open_raw(self, path: bytes | Path, raw: RawFormat) -> _ForwardOnly:
        if self.path.stat().st_size % raw.frame_bytes:
            raise AudioError(
                f"{self.path}: {self.path.stat().st_size} bytes are no whole number of samples of {raw.frame_bytes} "
                f"bytes ({raw.channels} x {raw.encoding}); correct the raw format, or record it again"
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
        """An mp3, with the counted length where it tells none or too small a one."""
        length = count_frames(self.path)
        if length is None:  # libsndfile would say so, too, after lines of its own on standard error
            raise UnknownFormatError(f"{self.path}: cannot be read as audio (Format not recognised)")
        missing = None if length.announced is None else length.announced - length.num_frames
        if missing == 0:
            return _ForwardOnly(path)
        if missing is not None and missing > 1:  # with one, the frame that announces the length counted itself
            raise TruncatedAudioError(
                f"{self.path}: the file holds {length.num_frames} of {length.announced} mp3 frames; "
                "it is truncated or damaged; record or copy it again"
            )
        self._may_end_early = True  # frames may be beyond decoding, those between joined files for instance
        self._file = with_length(self.path, length)
        return _ForwardOnly(self._file)

    def _check(self) -> None:
        sound = self._sound
        promised = _promised_samples(self.path, sound)
        if promised is not None and promised > sound.frames:
            raise _truncated(self.path, sound.frames, promised)
        if sound.format == "OGG" and not _ogg_has_its_end(self.path):
            raise TruncatedAudioError(
                f"{self.path}: the file is truncated, its last page is missing; record or copy it again"
            )
        if sound.frames == 0:
            raise AudioError(f"{self.path}: the file holds no samples; record or copy it again")

    def _go_to(self, first: int) -> int:
        """Go to sample `first` and return the sample that is read next."""
        needs_all = self._sound.format == "MP3" or self._sound.subtype == "OPUS"  # that comes before
        if first == 0 or needs_all or self.num_samples is None:
            return 0
        try:
            return int(self._sound.seek(first))
        except soundfile.SoundFileError as error:
            raise AudioError(
                f"{self.path}: cannot go to sample {first} of {self.num_samples}; copy it again"
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

    def seekable(self) -> bool:
        return False


def _promised_samples(path: Path, sound: _ForwardOnly) -> int | None:
    """How many samples the header announces where libsndfile silently settles for those that are there."""
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


def _is_shorten(path: Path) -> bool:
    """Whether it is a SPHERE file compressed as many corpora are, which libsndfile does not read."""
    with open(path, "rb") as file:
        head = file.read(1024)
    return head.startswith(b"NIST_1A") and b"embedded-shorten" in head


def _ogg_has_its_end(path: Path) -> bool:
    """Whether the last ogg page (at most 65307 bytes) is whole and marked as the last of its stream."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * 65307))
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _truncated(path: Path, read: int, expected: int) -> TruncatedAudioError:
    return TruncatedAudioError(f"{path}: the file ends after {read} of {expected} samples; record or copy it again")
