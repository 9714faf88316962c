"""How long an mp3 is, counted frame by frame, because its header may be missing or wrong.

libsndfile reads as many samples as the header of an mp3 announces. Without a header it guesses from the first frame's
bit rate, and where several files were joined the header tells of the first only; the rest would be lost in silence.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# kbit/s by index, for (MPEG 1?, layer); 0 is a frame of free size, which we do not count.
BIT_RATES = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
SAMPLE_RATES = (44100, 48000, 32000)  # Hz; half of it for MPEG 2, a quarter for MPEG 2.5
RESYNC_BYTES = 1 << 16  # looked through at once for the next frame
MAX_LOST_BYTES = 1 << 20  # without a frame: what follows is no mp3 any more


@dataclass(frozen=True)
class FrameHeader:
    """The four bytes that every frame begins with."""

    num_bytes: int  # of the whole frame
    num_samples: int  # per channel
    tag_offset: int  # where a Xing or Info tag stands if the frame holds one
    kind: int  # version, layer and sample rate, the same all through a file

    @classmethod
    def parse(cls, data: bytes) -> FrameHeader | None:
        """None for bytes that begin no frame."""
        if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
            return None
        version, layer = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3)
        rate_index, bit_index, padding = data[2] >> 2 & 3, data[2] >> 4, data[2] >> 1 & 1
        if version == 1 or layer == 4 or rate_index == 3 or bit_index in (0, 15):
            return None
        is_first = version == 3  # MPEG 1
        sample_rate = SAMPLE_RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
        bits = 1000 * BIT_RATES[is_first, layer][bit_index]
        num_samples = 384 if layer == 1 else 576 if layer == 3 and not is_first else 1152
        slot = 4 if layer == 1 else 1  # bytes; a frame is a whole number of slots
        num_bytes = (num_samples // 8 // slot * bits // sample_rate + padding) * slot
        is_mono = data[3] >> 6 == 3
        side = (17 if is_mono else 32) if is_first else (9 if is_mono else 17)
        return cls(num_bytes, num_samples, 4 + side, data[1] & 0xFE | (data[2] & 0x0C) << 8)


@dataclass(frozen=True)
class Mp3Length:
    """What counting the frames of an mp3 gave."""

    place: int  # byte at which the first frame begins
    first: bytes  # that frame; it may hold no sound but a tag with the length
    tag: str | None  # Xing, Info or VBRI; None without one
    announced: int | None  # frames, by the tag
    num_frames: int  # counted, without that of the tag


def count_frames(path: Path) -> Mp3Length | None:
    """Walk through all frames of an mp3, past other tags and damage; None for a file that is mostly something else."""
    with open(path, "rb") as file:
        begin = _skip_id3(file)
        start = place = _next_frame(file, begin, None)
        if start is None or place is None:
            return None
        file.seek(start)
        header = FrameHeader.parse(file.read(4))
        assert header is not None
        num_frames = num_bytes = 0
        while place is not None:
            file.seek(place)
            frame = FrameHeader.parse(file.read(4))
            if frame is not None and frame.kind == header.kind:
                num_frames += 1
                num_bytes += frame.num_bytes
                place += frame.num_bytes
            else:
                place = _next_frame(file, place, header)
        if 2 * num_bytes < file.seek(0, io.SEEK_END) - begin:
            return None
        file.seek(start)
        first = file.read(header.num_bytes)
    tag, announced = _length_tag(first, header)
    return Mp3Length(start, first, tag, announced, num_frames - (tag is not None))


def with_length(path: Path, length: Mp3Length) -> BinaryIO:
    """The file with the counted length in the tag of its first frame, or behind a new frame with such a tag."""
    header = FrameHeader.parse(length.first)
    assert header is not None
    place = length.place + (0 if length.tag is None else header.num_bytes)
    frame = bytearray(length.first)
    at = header.tag_offset
    if length.tag not in ("Xing", "Info") or length.announced is None:
        frame[4:] = bytes(len(frame) - 4)
        frame[at : at + 8] = b"Xing" + (1).to_bytes(4, "big")
    frame[at + 8 : at + 12] = length.num_frames.to_bytes(4, "big")
    if frame[at + 7] & 2:
        size = path.stat().st_size - length.place
        frame[at + 12 : at + 16] = min(size, 0xFFFFFFFF).to_bytes(4, "big")
    return io.BufferedReader(_Behind(bytes(frame), open(path, "rb"), place))


def _length_tag(first: bytes, header: FrameHeader) -> tuple[str | None, int | None]:
    """The tag in a file's first frame, and the number of frames it announces."""
    tag = first[header.tag_offset : header.tag_offset + 12]
    if tag[:4] in (b"Xing", b"Info"):
        return tag[:4].decode(), int.from_bytes(tag[8:12], "big") if tag[7] & 1 else None
    if first[36:40] == b"VBRI":
        return "VBRI", int.from_bytes(first[50:54], "big")
    return None, None


class _Behind(io.RawIOBase):
    """Some bytes, then a file from an offset on, as one file."""

    def __init__(self, front: bytes, file: BinaryIO, offset: int) -> None:
        self._front = front
        self._file = file
        self._offset = offset
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._front[self._place : self._place + len(buffer)]
        if not data:
            self._file.seek(self._place - len(self._front) + self._offset)
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            end = self._file.seek(0, io.SEEK_END) - self._offset + len(self._front)
        self._place = max(0, offset + (0, self._place, 0)[whence] if whence != io.SEEK_END else end + offset)
        return self._place

    def close(self) -> None:
        self._file.close()
        super().close()


def _skip_id3(file: BinaryIO) -> int:
    """The byte behind an ID3v2 tag at the beginning."""
    head = file.read(10)
    size = 0
    if head[:3] == b"ID3" and len(head) == 10:
        for byte in head[6:10]:  # seven bits a byte
            size = size << 7 | byte & 0x7F
        size += 10
    return size


def _next_frame(file: BinaryIO, place: int, like: FrameHeader | None) -> int | None:
    """The next byte from `place` on at which a frame of the same kind begins that is followed by another."""
    for block in range(place, place + MAX_LOST_BYTES, RESYNC_BYTES):
        file.seek(block)
        data = file.read(RESYNC_BYTES + 3)
        found = data.find(b"\xff")
        while 0 <= found < RESYNC_BYTES:
            frame = FrameHeader.parse(data[found : found + 4])
            if frame is not None and (like is None or frame.kind == like.kind):
                file.seek(block + found + frame.num_bytes)
                after = FrameHeader.parse(file.read(4))
                if after is not None and after.kind == frame.kind:
                    return block + found
            found = data.find(b"\xff", found + 1)
        if len(data) < RESYNC_BYTES:
            break
    return None
