"""How long an mp3 is, counted frame by frame, because its header may be missing or wrong.

libsndfile reads as many samples as the header of an mp3 announces. Without a header it guesses from the first frame's
bit rate, and where several files were joined the header counts the first only; the rest would be lost in silence.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

from asr.audio.parts import Part
from asr.audio.structure import CACHED_FILES, Head

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
MAX_LOST_BYTES = 1 << 20  # without a frame, tags and zeros apart: what follows is no mp3 any more
RUN = 20  # frames, half a second, that follow each other by no accident
INDEXED = 64  # frames from one whose place is remembered to the next
MUTED = 24  # frames at least as long as what earlier frames may hold for a later one, even at 8 kbit/s
MAX_FRAME_BYTES = 1792  # of layer 3
ZEROS = 1 << 16  # bytes of padding looked at together


@dataclass(frozen=True)
class FrameHeader:
    """The four bytes that every frame begins with."""

    num_bytes: int  # of the whole frame
    num_samples: int  # per channel
    tag_offset: int  # where a Xing or Info tag stands if the frame holds one
    sample_rate: int  # Hz
    num_channels: int
    kind: int  # version, layer, sample rate, mono or stereo: the same all through a recording

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
        kind = data[1] & 0xFE | (data[2] & 0x0C) << 8 | is_mono << 12
        return cls(num_bytes, num_samples, 4 + side, sample_rate, 2 - is_mono, kind)


@dataclass(frozen=True)
class Mp3Length:
    """What counting the frames of an mp3 gave."""

    place: int  # byte at which the first frame begins
    end: int  # byte behind the last frame
    first: bytes  # the first frame; it may hold no sound but a tag with the length
    tag: str | None  # Xing, Info or VBRI; None without one
    announced: int | None  # frames, by the tag
    num_frames: int  # counted, without that of the tag
    num_samples: int  # per channel and frame
    places: tuple[int, ...]  # of every INDEXED-th frame, the first one included
    has_padding: bool  # something but an ID3 tag stands before the frames, or more than one behind them
    others: FrameHeader | None  # of a recording of another kind that stands between the frames or behind them

    @property
    def num_tags(self) -> int:
        """Frames that hold no sound: 0 or 1."""
        return int(self.tag is not None)


@functools.lru_cache(CACHED_FILES)
def count_frames(path: Path, head: Head) -> Mp3Length | None:
    """Walk through all frames of an mp3, past tags, padding and damage; None for a file that is something else.

    What is no sound does not decide that, pictures and zeros for instance, but noise does: it is an mp3 if RUN frames
    follow each other somewhere, or if half of it is frames.
    """
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        start = place = _next_frame(data, _behind_tags(data, 0), None)
        if start is None or place is None:
            return None
        header = FrameHeader.parse(data[start : start + 4])
        assert header is not None
        known: dict[bytes, int] = {}  # bytes of a frame by its header, 0 for what begins none of this kind
        num_frames = num_bytes = run = longest_run = 0
        end = start
        places = []
        others = None
        while place is not None:
            key = data[place : place + 4]
            if key not in known:
                frame = FrameHeader.parse(key)
                known[key] = frame.num_bytes if frame is not None and frame.kind == header.kind else 0
            if known[key]:
                if num_frames % INDEXED == 0:
                    places.append(place)
                num_frames += 1
                num_bytes += known[key]
                run += 1
                place += known[key]
                end = min(place, len(data))
            else:
                longest_run, run = max(longest_run, run), 0
                gap = _behind_tags(data, place)
                place = _next_frame(data, gap, header)
                others = others or _others(data, gap, len(data) if place is None else place, header)
        if max(longest_run, run) < RUN and 2 * num_bytes < _noise(data, start, end):
            return None
        first = data[start : start + header.num_bytes]
        has_padding = start != _behind_id3(data, 0) or len(data) - end > 128
    tag, announced = _length_tag(first, header)
    num_sounding = num_frames - (tag is not None)
    num_samples = header.num_samples
    return Mp3Length(start, end, first, tag, announced, num_sounding, num_samples, tuple(places), has_padding, others)


def with_length(length: Mp3Length) -> Part:
    """The frames with their counted number in the tag of the first one, or behind a new frame with such a tag."""
    return _behind_tag(length, b"", length.place + len(length.first) * length.num_tags, length.num_frames)


def from_frame(path: Path, length: Mp3Length, begin: int) -> tuple[Part, int]:
    """As `with_length`, from one of the `places` on (0 < begin), and the sample of the whole that it begins with.

    The bits of a frame may begin in those before it, and mpg123 complains on standard error where they are missing.
    So the first MUTED frames say that they are silent, and only hold bits for later ones.
    """
    place = length.places[begin]
    with open(path, "rb") as file:
        file.seek(place)
        front = bytearray(file.read(MUTED * MAX_FRAME_BYTES))
    end = 0
    for _ in range(MUTED):
        header = FrameHeader.parse(bytes(front[end : end + 4]))
        if header is None or end + header.num_bytes > len(front) or front[end + 1] & 6 != 2:
            break  # frames of layers 1 and 2 stand alone
        side = end + 4 + 2 * (not front[end + 1] & 1)  # behind a checksum, if there is one
        kept = side + 1
        if front[end + 1] & 8:  # MPEG 1: nine bits say where the frame's bits begin, not eight
            front[kept] &= 0x80
            kept += 1
        front[kept : end + header.tag_offset] = bytes(max(0, end + header.tag_offset - kept))
        end += header.num_bytes
    skipped = begin * INDEXED - length.num_tags
    part = _behind_tag(length, bytes(front[:end]), place + end, length.num_frames - skipped)
    return part, skipped * length.num_samples


def _behind_tag(length: Mp3Length, front: bytes, place: int, num_frames: int) -> Part:
    header = FrameHeader.parse(length.first)
    assert header is not None
    frame = bytearray(length.first)
    at = header.tag_offset
    if length.tag not in ("Xing", "Info") or length.announced is None:
        frame[4:] = bytes(len(frame) - 4)
        frame[at : at + 8] = b"Xing" + (1).to_bytes(4, "big")
    frame[at + 8 : at + 12] = num_frames.to_bytes(4, "big")
    if frame[at + 7] & 2:
        size = len(frame) + len(front) + length.end - place
        frame[at + 12 : at + 16] = min(size, 0xFFFFFFFF).to_bytes(4, "big")
    return Part(place, length.end, bytes(frame) + front)


def _length_tag(first: bytes, header: FrameHeader) -> tuple[str | None, int | None]:
    """The tag in a file's first frame, and the number of frames it announces."""
    tag = first[header.tag_offset : header.tag_offset + 12]
    if tag[:4] in (b"Xing", b"Info"):
        return tag[:4].decode(), int.from_bytes(tag[8:12], "big") if tag[7] & 1 else None
    if first[36:40] == b"VBRI":
        return "VBRI", int.from_bytes(first[50:54], "big")
    return None, None


def _behind_tags(data: mmap, place: int) -> int:
    """The byte behind the tags and zeros that stand at `place`: ID3v2, ID3v1 and APE, pictures in them included."""
    while True:
        head = data[place : place + 32]
        if head[:3] == b"ID3" and (behind := _behind_id3(data, place)) > place:
            place = behind
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            place += 32 + (int.from_bytes(head[12:16], "little") if head[23] & 0x20 else 0)
        elif head[:3] == b"TAG":
            place += 128
        elif head[:1] == b"\0":
            while data[place : place + ZEROS] == bytes(ZEROS):
                place += ZEROS
            place += len(head := data[place : place + ZEROS]) - len(head.lstrip(b"\0"))
        else:
            return place


def _behind_id3(data: mmap, place: int) -> int:
    """The byte behind an ID3v2 tag at `place`; `place` without one."""
    head = data[place : place + 10]
    if head[:3] != b"ID3" or len(head) < 10 or max(head[6:]) > 0x7F:
        return place
    size = 0
    for byte in head[6:]:  # seven bits a byte
        size = size << 7 | byte
    return place + 10 + size


def _noise(data: mmap, start: int, end: int) -> int:
    """Bytes of a file but for the tags and zeros around its frames."""
    return end - start + max(0, len(data) - _behind_tags(data, end))


def _next_frame(data: mmap, place: int, like: FrameHeader | None) -> int | None:
    """The next byte from `place` on at which a frame of the same kind begins that is followed by another."""
    last = min(len(data), place + MAX_LOST_BYTES)
    while (place := data.find(b"\xff", place, last)) >= 0:
        frame = FrameHeader.parse(data[place : place + 4])
        if frame is not None and frame.num_bytes and (like is None or frame.kind == like.kind):
            after = FrameHeader.parse(data[place + frame.num_bytes : place + frame.num_bytes + 4])
            if after is not None and after.kind == frame.kind:
                return place
        place += 1
    return None


def _others(data: mmap, begin: int, end: int, header: FrameHeader) -> FrameHeader | None:
    """What the frames of another recording begin with, RUN of which follow each other from between two bytes on."""
    place = _next_frame(data, begin, None)
    while place is not None and place < end:
        frame = FrameHeader.parse(data[place : place + 4])
        assert frame is not None
        behind, run = place, 0
        while run < RUN and (at := FrameHeader.parse(data[behind : behind + 4])) is not None and at.kind == frame.kind:
            behind, run = behind + at.num_bytes, run + 1
        if run == RUN and frame.kind != header.kind:
            return frame
        place = _next_frame(data, max(place + 1, behind if run == RUN else 0), None)
    return None
