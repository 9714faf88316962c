"""The structure of audio files, as far as it says where recordings begin and end and how long they are.

libsndfile reads the first recording of a file and believes its header. Files joined by `cat` or recorded from a radio
hold several, and a program that writes to a pipe cannot know the length that the header should state.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

from asr.audio.parts import Part
from asr.errors import AudioError

CACHED_FILES = 64  # whose structure is remembered, so that segments of long files are found at once
HEAD_BYTES = 4096  # in which most files say all that there is to know
SNDFILE_MAGIC = frozenset({b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"NIST", b".snd", b"riff", b"caff"})
STREAMED_SIZE = 0x7FFFF000  # a size of this or more is what writers to a pipe put where they cannot know it
WRAPPED = 1 << 32  # bytes; longer recordings overflow the sizes of wav


@dataclass(frozen=True)
class Container:
    """A format of chunks, each with an id and a size, and one of them with the samples."""

    header: int  # bytes before the first chunk
    id_bytes: int
    size: struct.Struct
    data: bytes  # what the id of the samples begins with
    align: int = 2  # chunks begin at multiples of it
    counts_head: bool = False  # the size includes that of id and size
    empty: int = 0  # the size of a chunk of samples without any

    @property
    def head(self) -> int:
        """Bytes of id and size."""
        return self.id_bytes + self.size.size


CONTAINERS = {
    b"RIFF": Container(12, 4, struct.Struct("<I"), b"data"),
    b"RIFX": Container(12, 4, struct.Struct(">I"), b"data"),
    b"RF64": Container(12, 4, struct.Struct("<I"), b"data"),
    b"BW64": Container(12, 4, struct.Struct("<I"), b"data"),
    b"FORM": Container(12, 4, struct.Struct(">I"), b"SSND", empty=8),
    b"riff": Container(40, 16, struct.Struct("<Q"), b"data", align=8, counts_head=True, empty=24),
    b"caff": Container(8, 4, struct.Struct(">Q"), b"data", align=1, empty=4),
}


@dataclass(frozen=True)
class Head:
    """What one look at a file gives; its structure is remembered for as long as these stay as they are."""

    data: bytes  # the first HEAD_BYTES
    size: int  # bytes
    changed: int  # ns

    @property
    def is_of_sndfile(self) -> bool:
        """Whether it is of a format that libsndfile reads, whatever the file is called; mp3 has no such mark."""
        kind = self.data[:4]
        return kind in SNDFILE_MAGIC and (kind[:3] != b"RIF" or self.data[8:12] == b"WAVE")

    @classmethod
    def read(cls, path: Path, status: os.stat_result | None = None) -> Head:
        """The beginning of a file; OSError where it cannot be read."""
        status = status or path.stat()
        with open(path, "rb") as file:
            return cls(file.read(HEAD_BYTES), status.st_size, status.st_mtime_ns)


@functools.lru_cache(CACHED_FILES)
def find_parts(path: Path, head: Head) -> tuple[Part, ...]:
    """The recordings in a file, in order; () for what is one as it stands, and for what is not known here.

    Raises AudioError for two blocks of samples in one recording.
    """
    survey = _SURVEYS.get(head.data[:4])
    if survey is None or _is_plain(head.data, head.size):
        return ()
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        parts = tuple(survey(data, path))
    return () if parts == (Part(0, head.size),) else parts


def refuse_joined_media(path: Path, head: Head) -> None:
    """AudioError for an mp4 or flv that is followed by another one, of which FFmpeg would read only the first."""
    is_mp4, is_flv = head.data[4:8] == b"ftyp", head.data[:4] == b"FLV\1"
    if not (is_mp4 or is_flv):
        return
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        is_joined = _num_files(data) > 1 if is_mp4 else data.find(b"FLV\1", 9) >= 0
    if is_joined:
        raise AudioError(f"{path}: another recording follows the first in the file; split it, or join them as wav")


@functools.lru_cache(CACHED_FILES)
def refuse_joined_mp3(path: Path, head: Head) -> None:
    """AudioError for an mp3 that is followed by a recording of another format."""
    if _is_mp3(head.data) and head.size > HEAD_BYTES:
        with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            _refuse_marked(data, _tag_bytes(head.data) + 512, path, (b"Info", b"Xing"))


def _num_files(data: mmap) -> int:
    """How many mp4 files stand one behind the other: each has an index of its own behind its type."""
    place, types = 0, []
    while place + 16 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        if size == 1:
            size = struct.unpack_from(">Q", data, place + 8)[0]
        if size < 8:
            break
        types.append(kind)
        place += size
    return 1 if b"moof" in types else min(types.count(b"ftyp"), types.count(b"moov"))


def _is_plain(head: bytes, size: int) -> bool:
    """Whether the first bytes are enough to see that a file of `size` bytes is one recording up to its end."""
    container = CONTAINERS.get(head[:4])
    if container is None:
        return False
    place = container.header
    while place + container.head <= len(head):
        end = place + container.size.unpack_from(head, place + container.id_bytes)[0]
        end += container.head * (not container.counts_head)
        if head[place : place + len(container.data)] == container.data:
            return bool(end == size > place + container.head + container.empty)
        place = end + -end % container.align
    return False


def _chunked(data: mmap, path: Path) -> Iterator[Part]:
    """Recordings of chunks, from the beginning of a file."""
    begin = 0
    while True:
        container = CONTAINERS[data[begin : begin + 4]]
        place, end = begin + container.header, len(data)
        samples: int | None = None  # where they begin
        fault = ""
        while place + container.head <= len(data):
            if _begins_another(data, place):
                end = place
                break
            if data[place : place + len(container.data)] != container.data:
                _refuse_foreign(data, place, path)
            size = _size(data, begin, place, container)
            payload = place + container.head
            if data[place : place + len(container.data)] == container.data:
                if samples is not None and size > container.empty:
                    raise AudioError(f"{path}: the file holds two blocks of samples; convert it to wav or flac")
                if samples is None and _is_unknown(data, payload, size, container):
                    yield Part(payload, len(data), _with_size(data, begin, payload, container))
                    return
                samples = payload
                if container.size.size == 8:  # of the others libsndfile says so
                    fault = _missing(data, payload, size - container.head * container.counts_head)
            elif not _is_id(data[place : place + 4]):
                break
            place = payload + size - container.head * container.counts_head
            place += -(place - begin) % container.align
        yield Part(begin, end, fault=fault)
        if end == len(data):
            return
        begin = end


def _size(data: mmap, begin: int, place: int, container: Container) -> int:
    """The size that a chunk states, in RF64 elsewhere where it is large."""
    size: int = container.size.unpack_from(data, place + container.id_bytes)[0]
    if (
        size == 0xFFFFFFFF
        and data[begin : begin + 4] in (b"RF64", b"BW64")
        and data[begin + 12 : begin + 16] == b"ds64"
    ):
        size = struct.unpack_from("<Q", data, begin + 28)[0]
    return size


def _is_unknown(data: mmap, payload: int, size: int, container: Container) -> bool:
    """Whether the samples reach to the end of the file, whatever their chunk says about its size."""
    if size >= 1 << 62:
        return True
    behind = payload + max(0, size - container.head * container.counts_head)
    if behind >= len(data) or (container.empty < size < STREAMED_SIZE and len(data) - behind < WRAPPED):
        return False
    follows = data[behind : behind + container.head]
    is_chunk = len(follows) == container.head and _is_id(follows[:4])
    return not is_chunk or container.size.unpack_from(follows, container.id_bytes)[0] > len(data) - behind


def _with_size(data: mmap, begin: int, payload: int, container: Container) -> bytes:
    """Everything before the samples, with the size that they have up to the end of the file."""
    rest = len(data) - payload + container.head * container.counts_head
    front = bytearray(data[begin:payload])
    if front[:4] == b"RIFF" and rest >= STREAMED_SIZE:  # a chunk of wav cannot be so long
        front[:12] = b"RF64\xff\xff\xff\xffWAVEds64\x1c" + bytes(31)
    if _has_large_size(bytes(front[:16])):
        struct.pack_into("<QQ", front, 20, len(front) - 8 + rest, rest)
        rest = 0xFFFFFFFF
    at = len(front) - container.size.size
    container.size.pack_into(front, at, min(rest, 2 ** (8 * container.size.size) - 1))
    return bytes(front)


def _missing(data: mmap, payload: int, size: int) -> str:
    """What is wrong if a file ends before its samples do."""
    present = len(data) - payload
    return f"{present} of {size} bytes of samples are there" if present < size else ""


def _has_large_size(head: bytes) -> bool:
    """Whether the size of the samples stands in a chunk of its own at the beginning, as in RF64."""
    return head[:4] in (b"RF64", b"BW64") and head[12:16] == b"ds64"


def _is_id(data: bytes) -> bool:
    return len(data) == 4 and all(0x20 <= byte < 0x7F for byte in data)


def _refuse_foreign(data: mmap, place: int, path: Path) -> None:
    """AudioError where a recording of another format begins; tags and rubbish may follow a recording."""
    head = data[max(0, place) : max(0, place) + HEAD_BYTES]
    is_foreign = (
        _begins_another(data, place)
        or (head[:4] == b"fLaC" and head[5:8] == b"\0\0\x22")
        or head[:6] == b"OggS\0\2"
        or head[:7] == b".snd\0\0\0"
        or _is_mp3(head)
    )
    if is_foreign:
        raise AudioError(
            f"{path}: a recording of another format follows the first in the file; split it, or join them as wav"
        )


# What others begin with, and how far behind their beginning it stands. By chance they come once in millions of hours.
_MARKS = {
    b"WAVEfmt ": (8,),
    b"WAVEds64": (8,),
    b"AIFFCOMM": (8,),
    b"AIFCFVER": (8,),
    b"riff\x2e\x91\xcf\x11": (0,),
    b"caff\0\1\0\0desc": (0,),
    b"fLaC\0\0\0\x22": (0,),
    b"OggS\0\2\0\0": (0,),
    b".snd\0\0\0\x18": (0,),
    b"Info\0\0\0": (36, 32, 21, 17, 13, 9),  # by version of mp3, channels and checksums
    b"Xing\0\0\0": (36, 32, 21, 17, 13, 9),
}


def _refuse_marked(data: mmap, start: int, path: Path, own: tuple[bytes, ...]) -> None:
    """AudioError where a recording of another format begins behind `start`; `own` are marks of the same one."""
    for mark, places in _MARKS.items():
        if not mark.startswith(own) and (found := data.find(mark, start)) >= 0:
            for before in places:
                _refuse_foreign(data, found - before, path)


def _tag_bytes(head: bytes) -> int:
    """How much of an mp3 is a tag in front of its sound; a chunk of AIFF named "ID3 " is none."""
    if head[:3] != b"ID3" or len(head) < 10 or not 2 <= head[3] <= 4 or max(head[6:10]) > 127:
        return 0
    return 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def _is_mp3(head: bytes) -> bool:
    """Whether an mp3 begins here, as encoders write it: with a tag, or with a frame that describes the rest."""
    if (size := _tag_bytes(head)) > 0:
        return len(head) < size + 4 or (head[size] == 0xFF and head[size + 1] & 0xE0 == 0xE0)
    is_frame = len(head) > 4 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2
    return is_frame and any(mark in head[:200] for mark in (b"Xing", b"Info", b"LAME", b"VBRI"))


def _begins_another(data: mmap, place: int) -> bool:
    """Whether a container begins here and not a chunk of the same name."""
    magic = data[place : place + 4]
    kinds = {b"RIFF": b"WAVE", b"RIFX": b"WAVE", b"RF64": b"WAVE", b"BW64": b"WAVE"}
    if magic in kinds:
        return data[place + 8 : place + 12] == kinds[magic]
    if magic == b"FORM":
        return data[place + 8 : place + 12] in (b"AIFF", b"AIFC")
    return magic in (b"riff", b"caff")


def _au(data: mmap, path: Path) -> Iterator[Part]:
    """Sun's format: a size of -1 says that it is unknown, 0 that it was never filled in."""
    begin = 0
    while len(data) >= begin + 24:
        offset, size = struct.unpack_from(">II", data, begin + 4)
        if size == 0 and begin + offset < len(data):
            front = bytearray(data[begin : begin + offset])
            front[8:12] = b"\xff\xff\xff\xff"
            yield Part(begin + offset, len(data), bytes(front))
            return
        end = begin + offset + size
        fault = _missing(data, begin + offset, size) if size < STREAMED_SIZE else ""
        if size == 0xFFFFFFFF or data[end : end + 4] != b".snd":
            _refuse_foreign(data, end, path)
            end = len(data)
        yield Part(begin, end, fault=fault)
        begin = end


def _flac(data: mmap, path: Path) -> Iterator[Part]:
    """Each begins with a marker and a block of 34 bytes about the stream."""
    begin, place = 0, 42
    _refuse_marked(data, place, path, (b"fLaC",))
    while (place := data.find(b"fLaC", place)) >= 0:
        if data[place + 4 : place + 8] in (b"\0\0\0\x22", b"\x80\0\0\x22"):
            yield Part(begin, place)
            begin = place
        place += 4
    yield Part(begin, len(data))


def _ogg(data: mmap, path: Path) -> Iterator[Part]:
    """The links of a chain (RFC 3533): all streams of a link begin before the first page that goes on with one."""
    begin = place = 0
    goes_on = has_end = False
    while place + 27 <= len(data):
        if data[place : place + 4] != b"OggS":
            _refuse_foreign(data, place, path)
            place = data.find(b"OggS", place)
            if place < 0:
                break
            continue
        flags, segments = data[place + 5], data[place + 26]
        lengths = data[place + 27 : place + 27 + segments]
        if flags & 2 and goes_on:
            yield Part(begin, place)
            begin, goes_on = place, False
        goes_on = goes_on or not flags & 2
        place += 27 + segments + sum(lengths)
        has_end = bool(flags & 4) and len(lengths) == segments and place <= len(data)
    is_cut = not has_end or (0 < len(data) - place < 27 and data[place:].startswith(b"OggS"))
    yield Part(begin, len(data), fault="its last page is missing" if is_cut else "")


_SURVEYS: dict[bytes, Callable[[mmap, Path], Iterator[Part]]] = {
    **dict.fromkeys(CONTAINERS, _chunked),
    b".snd": _au,
    b"fLaC": _flac,
    b"OggS": _ogg,
}
